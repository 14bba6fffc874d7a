package actions_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, p := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if p.Order.Commit.SHA != shaA || p.Namespace != "shop-pr-42" || len(p.Digest) != 64 || p.Destructive ||
		p.Summary != "deploy shop/pr-42 at aaaaaaa: db: make db; web: make web; url: make url" {
		t.Errorf("plan %+v", p)
	}
	web := p.Parts[1]
	if !web.Provisional || !strings.Contains(web.Diff, "(known after db)") || web.Executor != "b1" || p.Parts[0].Provisional || p.Parts[2].Provisional {
		t.Errorf("parts %+v", p.Parts)
	}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	_, p = h.plan(actions.Order{Verb: actions.VerbDeploy})
	if web := p.Parts[1]; web.Provisional || !strings.Contains(web.Diff, "db.example.org") {
		t.Errorf("web, whose needs are known: %+v", web)
	}
	_, p = h.plan(actions.Order{Verb: actions.VerbCleanup})
	if !p.Destructive || p.Order.Commit.SHA != shaA {
		t.Errorf("cleanup %+v", p)
	}
}

func TestRefusedPlans(t *testing.T) {
	t.Parallel()
	none := func(*harness) {}
	deployed := func(h *harness) { h.perform(actions.Order{Verb: actions.VerbDeploy}) }
	tests := map[string]struct {
		before func(h *harness)
		order  actions.Order
		code   actions.Code
		msg    string
	}{
		"an unknown app": {none, actions.Order{Env: actions.Name{App: "ship", Env: "pr-1"}, Verb: actions.VerbDeploy}, actions.CodeNotFound,
			`There is no app "ship"; there are shop.`},
		"a name that is none": {none, actions.Order{Env: actions.Name{App: "shop", Env: "}:x"}, Verb: actions.VerbDeploy}, actions.CodeInvalid,
			`"shop/}:x" cannot be an environment: names are 2 to 40 of a-z, 0-9 and "-", starting with a letter.`},
		"a ref that is not there": {none, actions.Order{Verb: actions.VerbDeploy, Ref: "nope"}, actions.CodeNotFound, `There is no "nope" in acme/shop.`},
		"a key that is not allowed": {none, actions.Order{Verb: actions.VerbDeploy, Set: map[string]string{"hostNetwork": "true"}}, actions.CodeInvalid,
			"shop does not allow --set hostNetwork; it allows image.tag, replicaCount."},
		"a key where none is allowed": {func(h *harness) { h.app.AllowSet = nil }, actions.Order{Verb: actions.VerbDeploy, Set: map[string]string{"a": "b"}}, actions.CodeInvalid,
			"shop does not allow --set a; it allows no keys (allow_set in its configuration)."},
		"set with cleanup":   {deployed, actions.Order{Verb: actions.VerbCleanup, Set: map[string]string{"image.tag": "b"}}, actions.CodeInvalid, "--set goes with deploy and restore only."},
		"a ref with cleanup": {deployed, actions.Order{Verb: actions.VerbCleanup, Ref: "main"}, actions.CodeInvalid, "--ref goes with deploy and restore only."},
		"nothing to clean up": {none, actions.Order{Verb: actions.VerbCleanup}, actions.CodeNotFound,
			"There is no environment shop/pr-42; deploy it first."},
		"restore of what runs": {deployed, actions.Order{Verb: actions.VerbRestore}, actions.CodeConflict,
			"shop/pr-42 is running, so there is nothing to restore; deploy it to update it."},
		"sleep, which no executor can": {deployed, actions.Order{Verb: actions.VerbSleep}, actions.CodeInvalid,
			"No part of shop can be put to sleep: none of its executors does that."},
		"rollback to nothing": {deployed, actions.Order{Verb: actions.VerbRollback}, actions.CodeConflict,
			"shop/pr-42 has no earlier revision to go back to; deploy what you want instead."},
		"an executor that is not there": {func(h *harness) { h.app.Parts[2].Use = "nowhere" }, actions.Order{Verb: actions.VerbDeploy}, actions.CodeInvalid,
			"Part url: There is no executor nowhere; configure it under plugins."},
		"an output of a part that is not needed": {func(h *harness) { h.app.Parts[2].With["x"] = "{{ .Outputs.db.endpoint }}" }, actions.Order{Verb: actions.VerbDeploy}, actions.CodeInvalid,
			`Part url: Its with.x cannot be filled in: there are no outputs of "db" here; add it to needs.`},
		"a fact that there is not": {func(h *harness) { h.app.Parts[0].With["x"] = []any{map[string]any{"y": "{{ .Nope }}"}} }, actions.Order{Verb: actions.VerbDeploy}, actions.CodeInvalid,
			`Part db: Its with.x[0].y cannot be filled in: there is no .Nope.`},
		"a variable that there is not": {func(h *harness) { h.app.Parts[0].With["x"] = "{{ .Vars.NOPE }}" }, actions.Order{Verb: actions.VerbDeploy}, actions.CodeInvalid,
			`Part db: Its with.x cannot be filled in: there is no .Vars.NOPE.`},
		"a cluster that is another now": {func(h *harness) { deployed(h); h.app.Cluster.Name = "prod" }, actions.Order{Verb: actions.VerbCleanup}, actions.CodeConflict,
			`shop/pr-42 runs on cluster staging, but shop is configured for "prod" now; set it back until the environment is cleaned up.`},
		"a part that is gone": {func(h *harness) { deployed(h); h.app.Parts = h.app.Parts[:2] }, actions.Order{Verb: actions.VerbCleanup}, actions.CodeConflict,
			"shop/pr-42 has a part url (dns) that the configuration of shop does not name any more; put it back until the environment is cleaned up."},
		"a namespace that is none": {func(h *harness) { h.app.Namespace = "{{ .Name }}_x" }, actions.Order{Verb: actions.VerbDeploy}, actions.CodeInvalid,
			`The namespace of shop comes out as "pr-42_x", which no namespace can be called: use a-z, 0-9 and "-", with a letter or digit first and last.`},
		"extend without a time": {deployed, actions.Order{Verb: actions.VerbExtend}, actions.CodeInvalid, "Say by how long to extend shop/pr-42, such as --ttl 24h."},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			tc.before(h)
			if tc.order.Env.IsZero() {
				tc.order.Env = shop42
			}
			_, err := h.run.Plan(h.ctx, tc.order, false)
			wantCode(t, err, tc.code)
			if got := actions.Message(err); got != tc.msg {
				t.Errorf("message\n%s\nwant\n%s", got, tc.msg)
			}
		})
	}
}

func TestAnAppWithoutARepository(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Repo = ""
	h.app.Parts[1].With["tag"] = "{{ .SHA | default \"none\" }}"
	if _, p := h.plan(actions.Order{Verb: actions.VerbDeploy}); p.Order.Commit.SHA != "" || !strings.Contains(p.Parts[1].Diff, "tag:none") {
		t.Errorf("plan %+v", p)
	}
	if _, p := h.plan(actions.Order{Verb: actions.VerbDeploy, Ref: shaB}); p.Order.Commit.SHA != shaB {
		t.Errorf("plan %+v", p)
	}
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, Ref: "main"}, true)
	wantCode(t, err, actions.CodeInvalid)
	h.app.Parts[1].With["chart"] = "repo:chart"
	_, err = h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, true)
	wantCode(t, err, actions.CodeInvalid)
	if !strings.Contains(actions.Message(err), "set repo in its configuration") {
		t.Errorf("message %q", actions.Message(err))
	}
}

// repoTree makes a repository's folder with things that lead astray.
func repoTree(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "tree")
	for _, d := range []string{"charts/web/templates", "charts/evil", "charts/dangling"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"out": base, "charts/evil/values.yaml": "../../../secret", "charts/dangling/x": "/nowhere/at/all",
		"same": "charts/web", "charts/web/templates/up": "../../web",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPathsInTheRepository(t *testing.T) {
	t.Parallel()
	dir := repoTree(t)
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ written, want, fault string }{
		"a folder":                        {"repo:charts/web", "charts/web", ""},
		"one with a template":             {"repo:./charts/{{ .Vars.which }}", "charts/web", ""},
		"the whole repository's link":     {"repo:same", "charts/web", ""},
		"one that is not there":           {"repo:charts/nope", "", "acme/shop at aaaaaaa has no charts/nope; check the path, or push it."},
		"one above":                       {"repo:../secret", "", `The path "../secret" leads out of acme/shop; use one inside of it.`},
		"an absolute one":                 {"repo:/etc/passwd", "", `The path "/etc/passwd" leads out of acme/shop; use one inside of it.`},
		"one through a link":              {"repo:out/secret", "", `The path "out/secret" leads out of acme/shop through a symbolic link; use one inside of it.`},
		"one with a link below":           {"repo:charts/evil", "", "The symbolic link charts/evil/values.yaml leads out of acme/shop; remove it."},
		"one with a link to nowhere":      {"repo:charts/dangling", "", "The symbolic link charts/dangling/x leads out of acme/shop; remove it."},
		"text from outside is not a path": {"{{ .Vars.outside }}", "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.repos.dirs[shaA] = dir
			h.app.Vars = map[string]string{"which": "web", "outside": "repo:charts/web"}
			h.app.Parts = []actions.Part{{Name: "web", Use: "helm", With: map[string]any{"chart": tc.written}}}
			p, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, false)
			switch {
			case tc.fault != "":
				wantCode(t, err, actions.CodeInvalid)
				if got := actions.Message(err); got != "Part web: "+tc.fault {
					t.Errorf("message %q", got)
				}
			case err != nil:
				t.Fatal(err)
			case tc.want == "" && p.Parts[0].Diff != "+map[chart:repo:charts/web]":
				t.Errorf("diff %s", p.Parts[0].Diff)
			case tc.want != "" && p.Parts[0].Diff != fmt.Sprintf("+map[chart:%s]", filepath.Join(root, tc.want)):
				t.Errorf("diff %s", p.Parts[0].Diff)
			}
			if h.repos.held != 0 {
				t.Error("the fetched folder was not given back")
			}
		})
	}
	t.Run("a cleanup goes on without the commit", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		h.repos.dirs[shaA] = dir
		h.app.Parts = []actions.Part{{Name: "web", Use: "helm", With: map[string]any{"chart": "repo:charts/web"}}}
		h.perform(actions.Order{Verb: actions.VerbDeploy})
		delete(h.repos.dirs, shaA)
		run := h.perform(actions.Order{Verb: actions.VerbCleanup})
		if run.State != actions.RunSucceeded || h.world.steps[1].With["chart"] != "repo:charts/web" {
			t.Errorf("run %+v", run)
		}
		if h.repos.held != 0 {
			t.Error("the fetched folder was not given back")
		}
	})
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	long := actions.Name{App: "shop", Env: strings.Repeat("a", 39) + "b"}
	other := actions.Name{App: "shop", Env: strings.Repeat("a", 39) + "c"}
	h.app.Namespace = strings.Repeat("previews-", 4) + "{{ .Name | lower }}"
	seen := map[string]bool{}
	for _, name := range []actions.Name{long, other, long} {
		_, p := h.plan(actions.Order{Env: name, Verb: actions.VerbDeploy})
		if len(p.Namespace) > 63 || strings.HasSuffix(p.Namespace, "-") {
			t.Errorf("namespace %q", p.Namespace)
		}
		seen[p.Namespace] = true
	}
	if len(seen) != 2 {
		t.Errorf("namespaces %v; want one for each environment, always the same", seen)
	}
	h.app.Namespace = "first-{{ .Name }}"
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.app.Namespace = "second-{{ .Name }}"
	if _, p := h.plan(actions.Order{Verb: actions.VerbDeploy}); p.Namespace != "first-pr-42" {
		t.Errorf("the environment moved to %s", p.Namespace)
	}
}

// A digest is the same for the same order, whenever, wherever and in whatever
// order its maps are, and another one for anything else.
func TestDigests(t *testing.T) {
	h := newHarness(t)
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{
			rapid.StringMatching(`[a-z .:]{0,8}`).AsAny(), rapid.Int().AsAny(), rapid.Bool().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(),
		}
		if depth > 0 {
			leaves = append(leaves, rapid.SliceOfN(value(depth-1), 0, 3).AsAny(), rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), value(depth-1), 0, 4).AsAny())
		}
		return rapid.OneOf(leaves...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		with := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,4}`), value(2), 0, 5).Draw(rt, "with")
		set := rapid.MapOfN(rapid.SampledFrom([]string{"image.tag", "replicaCount"}), rapid.String(), 0, 2).Draw(rt, "set")
		vars := rapid.MapOfN(rapid.StringMatching(`[A-Z]{1,4}`), rapid.String(), 0, 4).Draw(rt, "vars")
		h.app.Parts = []actions.Part{{Name: "db", Use: "aws", With: with}}
		h.app.Vars = vars
		o := actions.Order{Verb: actions.VerbDeploy, Set: set}
		req, _ := h.plan(o)
		h.pass(time.Hour)
		h.app.Parts[0].With, h.app.Vars = copyOf(with).(map[string]any), copyMap(vars)
		o.Set, o.By, o.Reason = copyMap(set), "somebody else", "because"
		h.run = h.runner()
		p, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: o.Verb, Set: o.Set, By: o.By, Reason: o.Reason}, true)
		if err != nil || p.Digest != req.Digest {
			rt.Fatalf("digest %s, then %v, %v", req.Digest, p, err)
		}
		h.app.Parts[0].With["new-key"] = rapid.SampledFrom([]any{"", 0, false, []any{}}).Draw(rt, "more")
		if again, _ := h.plan(o); again.Digest == req.Digest {
			rt.Fatal("another value gives the same digest")
		}
	})
}

func copyOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, sub := range v {
			out[k] = copyOf(sub)
		}
		return out
	case []any:
		out := []any{}
		for _, sub := range v {
			out = append(out, copyOf(sub))
		}
		return out
	}
	return v
}

func copyMap(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"shop/pr-42", "", "/", "a/b/c", "shop/pr-42}:x", "ab/-", "shop/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := actions.ParseName(s)
		if err == nil && (n.String() != s || strings.ContainsAny(s, "{}: \n*")) {
			t.Errorf("%q was taken for %v", s, n)
		}
		if err != nil && actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("error %v", err)
		}
	})
}
