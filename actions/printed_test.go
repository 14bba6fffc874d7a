package actions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

// prints are the programs of parts, by the part's executor; who has none there
// has no logs.
type prints map[string]func(ctx context.Context, out func(second int, text string) error) error

func (p prints) Executor(_ context.Context, use string) (actions.Executor, error) {
	return &printer{fake{newWorld(), use}, p[use]}, nil
}

type printer struct {
	fake
	print func(ctx context.Context, out func(second int, text string) error) error
}

func (p *printer) Describe(ctx context.Context) (actions.Description, error) {
	d, err := p.fake.Describe(ctx)
	d.Logs = p.print != nil
	return d, err
}

func (p *printer) Logs(ctx context.Context, s actions.Step, _ actions.LogQuery, out func(actions.LogLine) error) error {
	return p.print(ctx, func(second int, text string) error {
		l := actions.LogLine{Source: s.Part + "-1", Text: text}
		if second > 0 {
			l.Time = time.Unix(int64(second), 0)
		}
		return out(l)
	})
}

func says(lines ...string) func(context.Context, func(int, string) error) error {
	return func(_ context.Context, out func(int, string) error) error {
		for _, l := range lines {
			second := 0
			if _, err := fmt.Sscanf(l, "%d", &second); err != nil {
				second = 0
			}
			if err := out(second, l); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestWhatPartsPrintIsMerged(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	hangs := func(ctx context.Context, out func(int, string) error) error {
		if err := out(2, "2 then nothing"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	enough := errors.New("enough")
	tests := map[string]struct {
		prints prints
		part   string
		follow bool
		leave  int   // after so many lines ctx ends
		out    error // what the first line is answered with
		want   string
		sorted bool // the order is chance
		code   actions.Code
		err    error
	}{
		"by their times":                 {prints: prints{"aws": says("1", "4", "5"), "helm": says("2", "3", "6")}, want: "1|2|3|4|5|6"},
		"one without a time in its turn": {prints: prints{"aws": says("1", "x", "4"), "helm": says("2")}, want: "1|x|2|4"},
		"of one part":                    {prints: prints{"aws": says("1"), "helm": says("2")}, part: "web", want: "2"},
		"of a part that has none":        {prints: prints{"aws": says("1")}, part: "url", code: actions.CodeInvalid},
		"of a part that is not there":    {prints: prints{"aws": says("1")}, part: "x", code: actions.CodeNotFound},
		"where nothing prints":           {prints: prints{}, code: actions.CodeInvalid},
		"and a part that fails is told of when others have had their say": {
			prints: prints{"aws": func(context.Context, func(int, string) error) error {
				return actions.Errorf("x", actions.CodeDownstream, "No.")
			}, "helm": says("2", "3")}, want: "2|3", code: actions.CodeDownstream,
		},
		"and one that panics": {
			prints: prints{"aws": func(context.Context, func(int, string) error) error { panic("on purpose") }, "helm": says("2")}, want: "2", code: actions.CodeInternal,
		},
		"and one that hangs holds up until the reader leaves": {
			prints: prints{"aws": hangs}, leave: 1, want: "2 then nothing", code: actions.CodeCancelled,
		},
		"and a reader who has had enough ends it": {
			prints: prints{"aws": hangs, "helm": says("1", "3")}, out: enough, want: "1", err: enough,
		},
		"followed as they come, and a failure among them": {
			prints: prints{"aws": func(context.Context, func(int, string) error) error {
				return actions.Errorf("x", actions.CodeDownstream, "No.")
			}, "helm": says("3", "2")}, follow: true, want: "2|3|No.", sorted: true, code: actions.CodeDownstream,
		},
		"followed until the reader leaves": {
			prints: prints{"aws": hangs, "helm": says("1")}, follow: true, leave: 2, want: "1|2 then nothing", sorted: true, code: actions.CodeCancelled,
		},
		"followed until the reader has had enough": {
			prints: prints{"aws": hangs}, follow: true, out: enough, want: "2 then nothing", err: enough,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			r := actions.NewRunner(actions.RunnerOptions{Store: h.store, Catalog: catalog{h.app}, Executors: tt.prints, Sources: h.repos, Now: h.now})
			var got []string
			err := r.Logs(ctx, shop42, tt.part, actions.LogQuery{Follow: tt.follow}, func(l actions.LogLine) error {
				if got = append(got, l.Text); len(got) == tt.leave {
					leave()
				}
				return tt.out
			})
			if tt.sorted {
				slices.Sort(got)
			}
			if strings.Join(got, "|") != tt.want || tt.err == nil && actions.CodeOf(err) != tt.code || tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("%q, %v; want %q, %v %v", got, err, tt.want, tt.code, tt.err)
			}
		})
	}
	h.perform(actions.Order{Verb: actions.VerbCleanup})
	if err := h.run.Logs(t.Context(), shop42, "", actions.LogQuery{}, nil); actions.CodeOf(err) != actions.CodeNotFound {
		t.Errorf("of what was cleaned up: %v", err)
	}
}
