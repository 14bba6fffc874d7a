package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestOctopodScriptsGoThroughTheirLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const untidy = " . image . tag." // image.tag
	overrides := map[string]any{"overrides": map[string]any{
		"app":        map[string]any{"LOG_LEVEL": "debug", untidy: "v1", "FEATURE": nil},
		"deployment": map[string]any{"size": "large"},
	}}
	common := []string{"--project-name", "acme", "--base-domain", "preview.example.org", "--namespace", "shop-pr-42"}
	named := append(slices.Clone(common), "--name", "pr-42")
	full := append(slices.Clone(named), "--application-config", "image.tag=v1", "--application-config", "LOG_LEVEL=debug", "--application-config", "workers=8",
		"--deployment-config", "size=large", "--deployment-config", "memory=512Mi")

	h := w.must(w.step(sdk.Deploy, overrides))
	calls := w.calls()
	if got := names(calls); got != "init deployment_config app_overrides app_keys check config_check info create check notifications" {
		t.Errorf("a deploy of what is not there runs %s", got)
	}
	for _, c := range calls {
		want := full
		switch c[0] {
		case "init":
			want = nil
		case "deployment_config":
			want = common
		case "app_overrides", "app_keys":
			want = append([]string{"--deployment-config", "size=large", "--deployment-config", "memory=512Mi"}, common...)
		case "notifications":
			want = append(slices.Clone(named), "--old-status", "CreatePending", "--new-status", "Running")
		}
		if !slices.Equal(c[1:], want) {
			t.Errorf("%s is called with\n%q, want\n%q", c[0], c[1:], want)
		}
	}
	if h.outputs["url"] != "https://pr-42.preview.example.org/" || !strings.Contains(h.text(), "app_keys does not list the override image.tag") {
		t.Errorf("outputs %v, log\n%s", h.outputs, h.text())
	}
	o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, overrides))
	if err != nil || o.Health != sdk.Healthy || len(o.Links) != 2 || o.Links[1] != (sdk.Link{Name: `api, version "2"`, URL: "https://api.pr-42.preview.example.org/?a=1,2"}) {
		t.Errorf("observed %+v, %v", o, err)
	}
	w.calls()

	for _, next := range []struct {
		verb sdk.Verb
		want string
	}{
		{sdk.Deploy, "deployment_config app_overrides app_keys config_check info notifications update check notifications"},
		{sdk.Archive, "notifications archive archive_check notifications"},
		{sdk.Restore, "deployment_config app_overrides app_keys config_check info notifications unarchive check notifications"},
		{sdk.Cleanup, "notifications archive archive_check notifications cleanup"},
		{sdk.Deploy, "deployment_config app_overrides app_keys config_check info create check notifications"},
		{sdk.Archive, "notifications archive archive_check notifications"},
		{sdk.Cleanup, "cleanup"},
	} {
		s := w.step(next.verb, overrides)
		h := w.must(s)
		if got := names(w.calls()); got != next.want {
			t.Errorf("%s runs %s, want %s", next.verb, got, next.want)
		}
		if next.verb == sdk.Cleanup && (len(h.receipts) != 1 || w.has("pr-42.data")) {
			t.Errorf("cleanup leaves the data, or has receipts %v", h.receipts)
		}
		w.must(s)
		if got := names(w.calls()); got != "" {
			t.Errorf("%s that is done is run again: %s", next.verb, got)
		}
	}
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, overrides)); err != nil || o.Health != sdk.Absent {
		t.Errorf("observed after a cleanup: %+v, %v", o, err)
	}
	if left, _ := os.ReadDir(filepath.Join(w.data, "work")); len(left) > 0 {
		t.Errorf("working directories are left: %v", left)
	}
}

func TestVersionOneHasTagsAndOverrides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v1 := map[string]any{"contract": "v1", "tag": "v7", "overrides": map[string]any{"app": map[string]any{"A": int64(1)}, "deployment": map[string]any{"b": true}}}
	named := []string{"--project-name", "acme", "--base-domain", "preview.example.org", "--namespace", "shop-pr-42", "--name", "pr-42"}
	tagged := append(slices.Clone(named), "--tag", "v7")
	want := map[string][]string{
		"create":        append(slices.Clone(tagged), "--app-env-override", "A=1", "--deployment-override", "b=true"),
		"tag_check":     tagged,
		"notifications": append(slices.Clone(named), "--old-status", "CreatePending", "--new-status", "Running", "--tag", "v7"),
	}
	w.must(w.step(sdk.Deploy, v1))
	calls := w.calls()
	if got := names(calls); got != "init check tag_check info create check notifications" {
		t.Errorf("a deploy runs %s", got)
	}
	for _, c := range calls[1:] {
		args, ok := want[c[0]]
		if !ok {
			args = named
		}
		if !slices.Equal(c[1:], args) {
			t.Errorf("%s is called with %q, want %q", c[0], c[1:], args)
		}
	}
	w.must(w.step(sdk.Archive, v1))
	w.calls()
	w.must(w.step(sdk.Restore, v1))
	if got := names(w.calls()); got != "tag_check info notifications create check notifications" {
		t.Errorf("a restore runs %s", got)
	}
	other := w.step(sdk.Deploy, v1)
	other.Set = map[string]string{"tag": "none"}
	_, err := w.run(other)
	if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, `no tag "none"`) {
		t.Error(e.Msg)
	}
}

func TestOctopodFaultsAreNotCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.step(sdk.Deploy, nil))
	w.calls()

	// config_check judges what the update would bring, and says it to people.
	_, err := w.run(w.step(sdk.Deploy, map[string]any{"overrides": map[string]any{"app": map[string]any{"replicas": "many"}}}))
	if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, "replicas has to be a number") {
		t.Error(e.Msg)
	}
	if got := names(w.calls()); strings.Contains(got, "update") {
		t.Errorf("what config_check refuses is run: %s", got)
	}

	// An update that fails has failed, though the old version still answers.
	w.put("update-fails", "")
	_, err = w.run(w.step(sdk.Deploy, nil))
	if e := fault(t, err, sdk.FaultDownstream); !strings.Contains(e.Msg, "exit status 3") || !strings.Contains(e.Msg, "the chart does not render") {
		t.Error(e.Msg)
	}
	_ = os.Remove(filepath.Join(w.state, "update-fails"))

	// One that never becomes good is a failure after its time, and says how it was.
	w.put("check-says", "2")
	h, err := w.run(w.step(sdk.Deploy, nil))
	if e := fault(t, err, sdk.FaultDownstream); !strings.Contains(e.Msg, "partly available") || !strings.Contains(strings.Join(h.progress, "\n"), "check: it is partly available") {
		t.Error(e.Msg, h.progress)
	}
	for code, want := range map[string]sdk.Health{"2": sdk.Degraded, "3": sdk.Degraded, "1": sdk.Unhealthy, "77": sdk.Unhealthy, "0": sdk.Healthy} {
		w.put("check-says", code)
		if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, nil)); err != nil || o.Health != want || (len(o.Drift) > 0) != (code == "3") {
			t.Errorf("exit status %s is observed as %+v, %v", code, o, err)
		}
	}
	_ = os.Remove(filepath.Join(w.state, "check-says"))

	// The old links stay when info fails.
	w.put("info-fails", "")
	w.must(w.step(sdk.Deploy, nil))
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, nil)); err != nil || len(o.Links) != 2 {
		t.Errorf("links after info failed: %+v, %v", o, err)
	}
}

func TestWithoutMemoryTheCheckDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.step(sdk.Deploy, nil))
	w.data = t.TempDir() // another machine
	w.calls()
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, nil)); err != nil || o.Health != sdk.Healthy || len(o.Links) != 2 {
		t.Errorf("observed without memory: %+v, %v", o, err)
	}
	w.calls()
	w.must(w.step(sdk.Deploy, nil))
	if got := names(w.calls()); !strings.Contains(got, " update ") {
		t.Errorf("what is there is deployed by %s", got)
	}
	w.data = t.TempDir()
	w.must(w.step(sdk.Cleanup, nil))
	if got := names(w.calls()); !strings.Contains(got, "archive archive_check notifications cleanup") {
		t.Errorf("what runs is cleaned up by %s", got)
	}
	w.data = t.TempDir()
	if o, err := w.x.Observe(t.Context(), w.step(sdk.Deploy, nil)); err != nil || o.Health != sdk.Absent {
		t.Errorf("observed of what is gone: %+v, %v", o, err)
	}
}

func TestHostileNamesAndValuesAreArgumentsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hostile := map[string]string{
		"a": "; rm -rf " + w.state + "/*", "b": "$(touch " + w.state + "/pwned) `touch " + w.state + "/pwned`", "c": "two\nlines\n--name\nother",
		"d": "-rf", "e": "ünïcødé 🚢 \u202e", "f": `"'\ *?[]{}|&<>`, "g": "", "h": strings.Repeat("x", 100<<10), "i": "=a=b",
	}
	s := w.step(sdk.Deploy, map[string]any{"name": "$(touch " + w.state + "/pwned);x", "project": "-p"})
	s.With["commands"] = map[string]any{"create": "record", "check": "record", "info": "record"}
	dir := t.TempDir()
	s.With["dir"] = dir
	for _, name := range []string{"record", "update", "archive", "cleanup"} {
		script := "#!/bin/sh\nprintf '%s\\0' \"$0\" \"$@\" '' >>\"$STATE/calls\"\n[ ! -e \"$STATE/second\" ] || exit 0\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Set = map[string]string{}
	for key, value := range hostile {
		s.Set[key], s.Set["deployment."+key] = value, value
	}
	w.must(s)
	data, err := os.ReadFile(filepath.Join(w.state, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range hostile {
		for _, flag := range []string{"--application-config", "--deployment-config"} {
			if !strings.Contains(string(data), "\x00"+flag+"\x00"+key+"="+value+"\x00") {
				t.Errorf("%s=%.40q did not arrive as %s", key, value, flag)
			}
		}
	}
	if w.has("pwned") {
		t.Error("a value was run")
	}
	for what, set := range map[string]map[string]string{
		"a NUL":                 {"x": "a\x00b"},
		"too long an argument":  {"x": strings.Repeat("x", 128<<10)},
		"an equals sign":        {"x=y": "z"},
		"an empty key":          {" . ": "z"},
		"all of them, together": nil,
	} {
		s := w.step(sdk.Deploy, nil)
		if s.Set = set; set == nil {
			s.Set = map[string]string{}
			for i := range 40 {
				s.Set[strings.Repeat("k", i+1)] = strings.Repeat("v", 127<<10)
			}
		}
		_, err := w.run(s)
		t.Run(what, func(t *testing.T) {
			e := fault(t, err, sdk.FaultInvalid)
			if len(e.Msg) > 1000 || strings.Contains(e.Msg, "\n") {
				t.Errorf("the message is no sentence: %.300q", e.Msg)
			}
		})
	}
}
