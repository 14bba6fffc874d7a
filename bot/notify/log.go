package notify

import (
	"context"
	"log/slog"

	"github.com/berth-dev/berth/bot"
)

// Log tells notices in Berth's own log: at warn, and errors at error, so that
// they are seen wherever somebody reads along.
type Log struct{ log *slog.Logger }

// NewLog makes a Log.
func NewLog(log *slog.Logger) *Log { return &Log{log: log} }

// Tell logs n.
func (l *Log) Tell(ctx context.Context, _ string, n bot.Notice) error {
	level := slog.LevelWarn
	if n.Severity == bot.SeverityError {
		level = slog.LevelError
	}
	args := []any{"event", n.Event, "title", n.Title, "at", n.At}
	if !n.Env.IsZero() {
		args = append(args, "env", n.Env.String())
	}
	if n.Text != "" {
		args = append(args, "text", bot.Unescape(n.Text))
	}
	l.log.Log(ctx, level, "notice", args...)
	return nil
}
