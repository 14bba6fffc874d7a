package actions_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

const image = "ghcr.io/acme/shop:1"

// sha is an image's digest of one digit.
func sha(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

// changing is a harness whose plans depend on everything that they can.
func changing(t *testing.T) *harness {
	h := newHarness(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	h.app.Cluster.Kubeconfig = path
	kubeconfig(t, path, "https://10.0.0.1:6443")
	h.app.Vars["SECRET"] = "hunter2"
	h.app.Parts[1].With["values"] = map[string]any{"image": map[string]any{"tag": "1"}, "list": []any{"a", "b"}, "empty": map[string]any{}}
	h.world.inputs["web"] = map[string]string{"chart": "preview 0.1.0 " + sha("c"), "image " + image: sha("a")}
	return h
}

func kubeconfig(t *testing.T, path, server string) {
	t.Helper()
	text := fmt.Sprintf("contexts: [{name: c, context: {cluster: k}}]\nclusters: [{name: k, cluster: {server: %q}}]\n", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every single thing that decides what runs is in the digest, and named when it
// changes.
func TestEverythingThatDecidesIsNamedWhenItChanges(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(h *harness, o *actions.Order)
		want   []string
	}{
		"the commit":                    {func(h *harness, _ *actions.Order) { h.repos.refs["refs/pull/42/head"] = shaB }, []string{"the commit: aaaaaaa is now bbbbbbb", "web: its setting tag is another"}},
		"the ref":                       {func(_ *harness, o *actions.Order) { o.Ref = "main" }, []string{"the ref: refs/pull/42/head is now main"}},
		"the namespace":                 {func(h *harness, _ *actions.Order) { h.app.Namespace = "x-{{ .Name }}" }, []string{"the namespace: shop-pr-42 is now x-pr-42"}},
		"the lifetime":                  {func(h *harness, _ *actions.Order) { h.app.TTL = time.Hour }, []string{"the lifetime: 72h0m0s is now 1h0m0s"}},
		"the cluster":                   {func(h *harness, _ *actions.Order) { h.app.Cluster.Name = "prod" }, []string{"the cluster: staging is now prod"}},
		"the cluster's context":         {func(h *harness, _ *actions.Order) { h.app.Cluster.Context = "" }, []string{"the cluster's context: c is now none", "the cluster: its kubeconfig leads to another API server"}},
		"the API server":                {func(h *harness, _ *actions.Order) { kubeconfig(t, h.app.Cluster.Kubeconfig, "https://10.0.0.2:6443") }, []string{"the cluster: its kubeconfig leads to another API server"}},
		"a variable":                    {func(h *harness, _ *actions.Order) { h.app.Vars["SECRET"] = "hunter3" }, []string{"the variable SECRET is another"}},
		"a variable more":               {func(h *harness, _ *actions.Order) { h.app.Vars["MORE"] = "" }, []string{"the variable MORE is new"}},
		"a variable less":               {func(h *harness, _ *actions.Order) { delete(h.app.Vars, "LEVEL") }, []string{"the variable LEVEL is gone"}},
		"a value of --set":              {func(_ *harness, o *actions.Order) { o.Set = map[string]string{"image.tag": "3"} }, []string{"the value of --set image.tag is another"}},
		"a value of --set less":         {func(_ *harness, o *actions.Order) { o.Set = nil }, []string{"the value of --set image.tag is gone"}},
		"a setting":                     {func(h *harness, _ *actions.Order) { h.app.Parts[0].With["size"] = 4 }, []string{"db: its setting size is another"}},
		"a setting deep down":           {func(h *harness, _ *actions.Order) { values(h)["image"] = map[string]any{"tag": "2"} }, []string{"web: its setting values.image.tag is another"}},
		"an item of a list":             {func(h *harness, _ *actions.Order) { values(h)["list"] = []any{"a", "c"} }, []string{"web: its setting values.list[1] is another"}},
		"a setting more":                {func(h *harness, _ *actions.Order) { h.app.Parts[0].With["new"] = false }, []string{"db: its setting new is new"}},
		"a setting less":                {func(h *harness, _ *actions.Order) { delete(values(h), "empty") }, []string{"web: its setting values.empty is gone"}},
		"a setting's type":              {func(h *harness, _ *actions.Order) { h.app.Parts[0].With["size"] = "3" }, []string{"db: its setting size is another"}},
		"settings that look alike":      {func(h *harness, _ *actions.Order) { delete(values(h), "image"); values(h)["image.tag"] = "1" }, []string{"web: its settings are others"}},
		"the chart":                     {func(h *harness, _ *actions.Order) { h.world.inputs["web"]["chart"] = "preview 0.2.0 " + sha("d") }, []string{"web: its chart is another (preview 0.1.0 sha256:cccccccccccc is now preview 0.2.0 sha256:dddddddddddd)"}},
		"an image that moved":           {func(h *harness, _ *actions.Order) { h.world.inputs["web"]["image "+image] = sha("b") }, []string{"web: the image " + image + " moved (sha256:aaaaaaaaaaaa is now sha256:bbbbbbbbbbbb)"}},
		"an image more":                 {func(h *harness, _ *actions.Order) { h.world.inputs["web"]["image b"] = sha("b") }, []string{"web: the image b is new"}},
		"an input less":                 {func(h *harness, _ *actions.Order) { delete(h.world.inputs["web"], "chart") }, []string{"web: its chart is gone"}},
		"an input without a value more": {func(h *harness, _ *actions.Order) { h.world.inputs["web"]["x"] = "" }, []string{"web: its x is new"}},
		"the executor's binary": {func(h *harness, _ *actions.Order) { h.world.binary = "b2" }, []string{
			"db: the executor aws is another program (b1 is now b2)", "url: the executor dns is another program (b1 is now b2)", "web: the executor helm is another program (b1 is now b2)"}},
		"the executor":      {func(h *harness, _ *actions.Order) { h.app.Parts[2].Use = "script" }, []string{"url: its executor is now script, it was dns"}},
		"what a part needs": {func(h *harness, _ *actions.Order) { h.app.Parts[2].Needs = nil }, []string{"url: it needs none now, and needed web"}},
		"a part more": {func(h *harness, _ *actions.Order) {
			h.app.Parts = append(h.app.Parts, actions.Part{Name: "more", Use: "x"})
		}, []string{"the part more is new"}},
		"a part less":      {func(h *harness, _ *actions.Order) { h.app.Parts = h.app.Parts[:2] }, []string{"the part url is gone"}},
		"the parts' order": {func(h *harness, _ *actions.Order) { slices.Reverse(h.app.Parts) }, []string{"the parts are in another order"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := changing(t)
			order := actions.Order{Env: shop42, Verb: actions.VerbDeploy, Set: map[string]string{"image.tag": "2"}}
			req, was := h.plan(order)
			tc.change(h, &order)
			_, is := h.plan(order)
			if was.Digest == is.Digest || actions.DigestOf(was.Basis) != was.Digest || actions.DigestOf(is.Basis) != is.Digest {
				t.Fatalf("digests %s and %s", was.Digest, is.Digest)
			}
			got := actions.Changed(was, is)
			if !slices.Equal(got, tc.want) {
				t.Errorf("changed:\n%q\nwant\n%q", got, tc.want)
			}
			req.Order.Ref, req.Order.Set = order.Ref, order.Set
			_, err := h.run.Run(h.ctx, h.lease(), req)
			wantCode(t, err, actions.CodeStale)
			if msg := actions.Message(err); !strings.Contains(msg, "("+strings.Join(tc.want, "; ")+")") {
				t.Errorf("the run says %q", msg)
			}
		})
	}
}

func values(h *harness) map[string]any { return h.app.Parts[1].With["values"].(map[string]any) }

func TestABasisGivesNoSecretAway(t *testing.T) {
	t.Parallel()
	h := changing(t)
	h.app.Parts[0].With["password"] = "hunter2"
	_, p := h.plan(actions.Order{Verb: actions.VerbDeploy, Set: map[string]string{"image.tag": "hunter2"}})
	text, err := json.Marshal(p.Basis)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") || strings.Contains(string(text), "10.0.0.1") {
		t.Errorf("basis %s", text)
	}
	hashes := []string{p.Basis["variable/SECRET"], p.Basis["set/image.tag"], p.Basis["part/db/setting/password"]}
	if slices.Contains(hashes, "") || hashes[0] == hashes[1] || hashes[1] == hashes[2] || hashes[0] == hashes[2] {
		t.Errorf("that two secrets are the same can be seen: %v", hashes)
	}
	// It survives being kept.
	var back map[string]string
	if err := json.Unmarshal(text, &back); err != nil || actions.DigestOf(back) != p.Digest {
		t.Errorf("read back it is another: %v", err)
	}
}

func TestManySettingsAndOddNamesStayInTheDigest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	many := map[string]any{"bad\xff": "bad\xfe", "": map[string]any{"": 1}}
	for i := range 5000 {
		many[fmt.Sprintf("k%04d", i)] = i
	}
	h.app.Parts[0].With = many
	h.app.Vars = map[string]string{"\xff": "x", "a/b": "y", strings.Repeat("long", 1000): "z"}
	_, was := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if len(was.Basis) > 400 {
		t.Errorf("%d facts", len(was.Basis))
	}
	text, _ := json.Marshal(was.Basis)
	var back map[string]string
	if err := json.Unmarshal(text, &back); err != nil || actions.DigestOf(back) != was.Digest {
		t.Error("a basis with odd names cannot be kept")
	}
	many["k4999"] = 0 // the last, which has no fact of its own
	_, is := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if got := actions.Changed(was, is); !slices.Equal(got, []string{"db: its settings are others"}) {
		t.Errorf("changed %q", got)
	}
	for i := range 100 {
		many[fmt.Sprintf("k%04d", i)] = "another"
	}
	_, is = h.plan(actions.Order{Verb: actions.VerbDeploy})
	if got := actions.Changed(was, is); len(got) != 21 || got[20] != "and 80 more" {
		t.Errorf("%d sentences: %q", len(got), got)
	}
}

func TestChangedWithoutABasis(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	req, was := h.plan(actions.Order{Verb: actions.VerbDeploy})
	old := &actions.Plan{Digest: "0", Order: was.Order}
	for _, none := range [][]string{actions.Changed(nil, was), actions.Changed(was, nil), actions.Changed(was, was)} {
		if none != nil {
			t.Errorf("changed %q", none)
		}
	}
	if got := actions.Changed(old, was); !slices.Equal(got, []string{"the configuration, a chart, an image or an executor is another"}) {
		t.Errorf("changed %q", got)
	}
	h.repos.refs["refs/pull/42/head"] = shaB
	_, is := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if got := actions.Changed(old, is); !slices.Equal(got, []string{"the commit: aaaaaaa is now bbbbbbb"}) {
		t.Errorf("changed %q", got)
	}
	// A basis that the digest is not of is not believed.
	forged := *was
	forged.Basis = map[string]string{"commit": shaB}
	if got := actions.Changed(&forged, is); !slices.Equal(got, []string{"the commit: aaaaaaa is now bbbbbbb"}) {
		t.Errorf("changed %q", got)
	}
	h.world.inputs["web"] = nil
	req.Basis = forged.Basis
	_, err := h.run.Run(h.ctx, h.lease(), req)
	wantCode(t, err, actions.CodeStale)
}

// registry is what an executor does that looks tags up: while its registry is
// away, what was agreed on holds.
func registry(h *harness, digest string, away bool) {
	h.world.with(func() {
		h.world.registry = func(s actions.Step) map[string]string {
			if s.Part != "web" {
				return nil
			}
			if agreed, ok := s.Agreed["image "+image]; away && ok {
				return map[string]string{"image " + image: agreed}
			}
			if away {
				return map[string]string{"image " + image: "by its tag"}
			}
			return map[string]string{"image " + image: digest}
		}
	})
}

func TestAnAgreedImageHoldsWhileItsRegistryIsAway(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	registry(h, sha("a"), false)
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	registry(h, "", true)
	if run := h.performReq(h.ctx, req); run.State != actions.RunSucceeded {
		t.Fatalf("run %+v", run)
	}
	if web := h.world.steps[1]; web.Agreed["image "+image] != sha("a") {
		t.Errorf("the step goes by %v", web.Agreed)
	}
	// Without what was agreed on there is nothing that could hold.
	registry(h, sha("a"), false)
	req, _ = h.plan(actions.Order{Verb: actions.VerbDeploy})
	req.Basis = nil
	registry(h, "", true)
	_, err := h.run.Run(h.ctx, h.lease(), req)
	wantCode(t, err, actions.CodeStale)
}

func TestPlansNameWhatTheyTouch(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	many := make([]actions.Resource, 1500)
	for i := range many {
		many[i] = actions.Resource{Kind: "Pod", Name: fmt.Sprint("p", i), Change: actions.ResourceCreate}
	}
	many[1200].Change, many[1300].Change = actions.ResourceDelete, "explode"
	many[1400].Change, many[1400].Destructive = actions.ResourceDelete, true
	many[1400].Name = strings.Repeat("n", 10_000)
	h.world.answers["web"] = actions.PartPlan{Summary: "s", Resources: many, ResourcesLeft: 7, Cost: " requests\n1 \x1b[31mCPU\t", Diff: "@@ -1,2 +1,3 @@\n-a\n-b\n+c\n+d\n+e\n"}
	h.world.answers["db"] = actions.PartPlan{Summary: "s", ResourcesLeft: -1, Diff: "+x\n"}
	_, p := h.plan(actions.Order{Verb: actions.VerbDeploy})
	web := p.Parts[1]
	if len(web.Resources) != 1000 || web.ResourcesLeft != 507 || web.Cost != "requests 1 [31mCPU" || p.Parts[0].ResourcesLeft != 0 {
		t.Fatalf("%d resources and %d more, cost %q", len(web.Resources), web.ResourcesLeft, web.Cost)
	}
	if r := web.Resources[0]; !r.Destructive || len(r.Name) > 256 || web.Resources[1].Name != "p1200" || web.Resources[2].Name != "p1300" || web.Resources[2].Change != actions.ResourceUpdate || web.Resources[3].Name != "p0" {
		t.Errorf("resources begin with %+v", web.Resources[:4])
	}
	if p.Added != 4+1 || p.Removed != 2 || web.Added != 3 { // url has a line of its own
		t.Errorf("+%d -%d, web +%d", p.Added, p.Removed, web.Added)
	}
}

func TestAnEnvironmentHasAnOwner(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy, By: "ana", Identity: "github:ana"})
	h.perform(actions.Order{Verb: actions.VerbDeploy, By: "ben", Identity: "github:ben"})
	if got := h.env().Owner; got != (actions.Owner{Actor: "ana", Identity: "github:ana"}) {
		t.Errorf("owner %+v", got)
	}
	h.perform(actions.Order{Verb: actions.VerbCleanup, By: "cyd"})
	h.perform(actions.Order{Verb: actions.VerbDeploy, By: "ben", Identity: "github:ben"})
	if got := h.env().Owner; got != (actions.Owner{Actor: "ben", Identity: "github:ben"}) {
		t.Errorf("the next life's owner %+v", got)
	}
}
