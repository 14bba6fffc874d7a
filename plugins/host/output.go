package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLogLine is how much of a line that a program prints is kept, in bytes.
const maxLogLine = 16 << 10

// output puts what a program prints into the bot's log.
type output struct {
	log  *slog.Logger
	mask *strings.Replacer // of the secrets in the program's environment

	mu      sync.Mutex
	last    string // the last line of standard error, for the error of a failed start
	inPanic bool   // the lines of a Go panic follow
}

func newOutput(log *slog.Logger, secrets []string) *output {
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // the longest first
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, "***")
	}
	return &output{log: log, mask: strings.NewReplacer(pairs...)}
}

// clean is text fit for a log: UTF-8, no secrets, no longer than it may be.
func (o *output) clean(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "�")
	}
	return clip(o.mask.Replace(text), maxLogLine)
}

// clip is s with at most limit bytes and a notice of what is missing.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes left out)", s[:cut], len(s)-cut)
}

// lines hands each line of r to take, cut at maxLogLine, until r ends. It
// always reads on, so that a program never blocks on what it prints.
func (o *output) lines(r io.Reader, take func(line []byte, cut bool)) {
	b := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, err := b.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			take(text, cut)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// stdout logs a line that the program printed.
func (o *output) stdout(line []byte, cut bool) { o.plain(slog.LevelInfo, line, cut) }

// stderr logs a line of standard error: a record of the SDK's logger, or of any
// go-hclog logger, or plain text.
func (o *output) stderr(line []byte, cut bool) {
	if !cut && line[0] == '{' && o.record(line) {
		return
	}
	o.mu.Lock()
	if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
		o.inPanic = true
	}
	level := slog.LevelInfo
	if o.inPanic {
		level = slog.LevelError
	}
	if !o.inPanic || bytes.HasPrefix(line, []byte("panic: ")) {
		o.last = o.clean(string(line))
	}
	o.mu.Unlock()
	o.plain(level, line, cut)
}

func (o *output) plain(level slog.Level, line []byte, cut bool) {
	ctx := context.Background()
	if !o.log.Enabled(ctx, level) {
		return
	}
	text := o.clean(string(line))
	if cut {
		text += "… (the rest of the line is left out)"
	}
	o.log.Log(ctx, level, text)
}

// levels are go-hclog's names.
var levels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo,
	"warn": slog.LevelWarn, "error": slog.LevelError,
}

// record logs a line in go-hclog's JSON form. It is false for any other line.
func (o *output) record(line []byte) bool {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return false
	}
	message, isText := fields["@message"].(string)
	name, hasLevel := fields["@level"].(string)
	if !isText || !hasLevel {
		return false
	}
	level, ok := levels[name]
	if !ok {
		level = slog.LevelInfo
	}
	ctx := context.Background()
	if !o.log.Enabled(ctx, level) {
		return true
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		if !strings.HasPrefix(name, "@") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	attrs := make([]slog.Attr, 0, len(names))
	for _, name := range names {
		attrs = append(attrs, slog.String(o.clean(name), o.clean(text(fields[name]))))
	}
	o.log.LogAttrs(ctx, level, o.clean(message), attrs...)
	return true
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// lastWords is the last plain line of standard error.
func (o *output) lastWords() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// printed is a writer for what the executor's own code prints through
// os.Stdout or os.Stderr, which go-plugin brings over in pieces.
type printed struct {
	o    *output
	mu   sync.Mutex
	rest []byte
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(b)
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		p.rest = append(p.rest, line[:min(len(line), max(0, maxLogLine-len(p.rest)))]...)
		if !whole {
			return n, nil
		}
		if text := bytes.TrimRight(p.rest, "\r"); len(text) > 0 {
			p.o.stdout(text, len(p.rest) == maxLogLine)
		}
		p.rest, b = p.rest[:0], rest
	}
}
