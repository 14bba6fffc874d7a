package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// line is the network between one replica and Redis.
type line struct{ proxy *toxiproxy.Proxy }

// newLine makes a line to Redis.
func newLine(name, redis string) (*line, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{proxy: toxiproxy.NewProxy(server, name, "127.0.0.1:0", redis)}
	if err := l.proxy.Start(); err != nil {
		return nil, fmt.Errorf("the proxy of %s: %w", name, err)
	}
	return l, nil
}

// trouble is a way in which a network can fail.
type trouble struct {
	name   string
	toxics []string // as Toxiproxy's API takes them
	cut    bool     // nobody listens, and what is open ends
}

// troubles are what is done to lines. Source of the toxics:
// https://github.com/Shopify/toxiproxy/blob/v2.5.0/README.md#toxics
var troubles = []trouble{ // the first of them are those that last
	{name: "cut", cut: true},
	{name: "silent", toxics: []string{ // what is sent is never heard of again
		`{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`,
		`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`,
	}},
	{name: "deaf", toxics: []string{ // what is sent arrives, and no answer comes back
		`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`,
	}},
	{name: "slow", toxics: []string{`{"type": "latency", "stream": "downstream", "attributes": {"latency": 250, "jitter": 200}}`}},
	{name: "resetting", toxics: []string{`{"type": "reset_peer", "stream": "downstream", "toxicity": 0.5, "attributes": {"timeout": 20}}`}},
}

// lasting is how many of troubles may go on for longer than a lease holds.
const lasting = 3

// suffer lets t happen to the line until mend.
func (l *line) suffer(t trouble) error {
	if t.cut {
		l.proxy.Stop()
		return nil
	}
	for _, toxic := range t.toxics {
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// mend makes the line whole. What hung meanwhile is ended, as by the timers of a
// real network: a connection whose bytes were dropped is of no use any more.
func (l *line) mend(ctx context.Context) error {
	l.proxy.Stop()
	l.proxy.Toxics.ResetToxics(ctx)
	return l.proxy.Start()
}

// close ends the line.
func (l *line) close() { l.proxy.Stop() }
