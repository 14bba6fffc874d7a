package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/plugins/host"
)

// looker is a host whose one executor sees what the test says.
type looker struct {
	seen actions.Observation
	err  error
}

func (l looker) Executor(context.Context, string) (actions.Executor, error) {
	return seeing{looker: l}, nil
}
func (l looker) Checks(context.Context) []host.Status { return nil }

type seeing struct {
	actions.Executor
	looker looker
}

func (s seeing) Observe(context.Context, actions.Step) (actions.Observation, error) {
	return s.looker.seen, s.looker.err
}

// silent is a GitHub that never answers.
type silent struct{}

func (silent) Checks(ctx context.Context) []bot.Check {
	<-ctx.Done()
	return []bot.Check{{Name: "github", Detail: "it does not answer"}}
}

// TestSilenceIsItsOwn holds that one who does not answer makes nobody else look
// as if they did not.
func TestSilenceIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := &actions.App{Name: "shop", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "web", Use: "helm"}}}
		other := &actions.App{Name: "shop2", Cluster: actions.Cluster{Name: "staging"}, Parts: app.Parts}
		c := checkup{
			github: silent{}, host: looker{seen: actions.Observation{Health: actions.Absent}},
			apps: catalogOf(app, other), log: slog.New(slog.DiscardHandler),
		}
		if early := c.unheard(); len(early) != 2 || early[0].Name != "github" || early[1].Name != "cluster staging" || early[0].OK || early[1].OK {
			t.Errorf("before the first look: %+v", early)
		}
		got := c.look(t.Context())
		if len(got) != 2 || got[0].Name != "github" || got[0].OK || got[1].Name != "cluster staging" || !got[1].OK {
			t.Errorf("got %+v", got)
		}
	})
}

func TestACluster(t *testing.T) {
	tests := map[string]struct {
		looker
		ok     bool
		detail string
	}{
		"where nothing is found answers":        {looker{seen: actions.Observation{Health: actions.Absent}}, true, "answers"},
		"that cannot be seen does not answer":   {looker{seen: actions.Observation{Health: actions.Unknown, Text: "the cluster does not answer"}}, false, "the cluster does not answer"},
		"that is not seen for no reason is bad": {looker{seen: actions.Observation{Health: actions.Unknown}}, false, "it could not be seen"},
		"whose executor fails is bad":           {looker{err: actions.Errorf("x", actions.CodeUnavailable, "It is starting.")}, false, "It is starting."},
	}
	app := &actions.App{Name: "shop", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "web", Use: "helm"}}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := checkup{host: tt.looker, apps: catalogOf(app), log: slog.New(slog.DiscardHandler)}
			got := c.look(t.Context())
			if len(got) != 1 || got[0].OK != tt.ok || got[0].Detail != tt.detail || got[0].Name != "cluster staging" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// An app with nothing in its cluster says nothing of whether that answers, and must
// not speak for one that has.
func TestAClusterIsLookedAtByAnAppThatIsInIt(t *testing.T) {
	outside := &actions.App{Name: "a-site", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "bucket", Use: "aws"}, {Name: "url", Use: "dns"}}}
	inside := &actions.App{Name: "shop", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "db", Use: "aws"}, {Name: "web", Use: "helm"}}}
	for name, tt := range map[string]struct {
		apps []*actions.App
		want int
	}{"both": {[]*actions.App{outside, inside}, 1}, "only what is outside": {[]*actions.App{outside}, 0}} {
		c := checkup{host: looker{err: actions.Errorf("x", actions.CodeUnavailable, "It does not answer.")}, apps: catalogOf(tt.apps...), log: slog.New(slog.DiscardHandler)}
		if got := c.look(t.Context()); len(got) != tt.want || tt.want > 0 && (got[0].OK || got[0].Detail != "It does not answer.") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// catalogOf is a catalog of these apps, for lists alone.
func catalogOf(apps ...*actions.App) *catalog {
	c := &catalog{}
	c.now.Store(&appSet{sorted: apps})
	return c
}

func TestAnExecutorThatIsNotInstalledIsNamed(t *testing.T) {
	h := host.New(host.Options{BinDir: t.TempDir()})
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	app := &actions.App{Name: "shop", Parts: []actions.Part{{Name: "web", Use: "no-such-executor"}}}
	c := checkup{host: h, apps: catalogOf(app), log: slog.New(slog.DiscardHandler)}
	got := c.checkPlugins(t.Context())
	if len(got) != 1 || got[0].Name != "plugin no-such-executor" || got[0].OK || !got[0].Needed || got[0].Fix == "" {
		t.Errorf("got %+v", got)
	}
}
