package sdk

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// logger writes to the standard error that the process was started with;
// go-plugin replaces os.Stderr later.
var logger atomic.Pointer[slog.Logger]

// Logger is the executor's log. Its records go to standard error as JSON lines
// in go-hclog's form, which the host takes apart and puts into Berth's log
// under the executor's name. Never log a secret.
//
// What the program prints to standard output or error itself reaches Berth's
// log as well, as plain lines.
func Logger() *slog.Logger {
	if l := logger.Load(); l != nil {
		return l
	}
	logTo(os.Stderr)
	return logger.Load()
}

func logTo(w io.Writer) { logger.CompareAndSwap(nil, newLogger(w)) }

// hclogTime is the layout in which go-hclog writes "@timestamp".
const hclogTime = "2006-01-02T15:04:05.000000Z07:00"

// hclogLevels are go-hclog's names of slog's levels.
var hclogLevels = map[slog.Level]string{
	slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warn", slog.LevelError: "error",
}

func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(&lineWriter{w: w}, &slog.HandlerOptions{
		Level: slog.LevelDebug, // the host decides what it keeps
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.String("@timestamp", a.Value.Time().Format(hclogTime))
			case slog.LevelKey:
				return slog.String("@level", levelName(a.Value))
			case slog.MessageKey:
				return slog.String("@message", a.Value.String())
			}
			return a
		},
	}))
}

func levelName(v slog.Value) string {
	level, ok := v.Any().(slog.Level)
	if !ok {
		return "info"
	}
	for _, known := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo} {
		if level >= known {
			return hclogLevels[known]
		}
	}
	return hclogLevels[slog.LevelDebug]
}

// lineWriter keeps lines whole when several goroutines write to one pipe.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
