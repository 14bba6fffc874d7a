package actions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someKubeconfig = `apiVersion: v1
kind: Config
current-context: staging
contexts:
- {name: staging, context: {cluster: one, user: ana}}
- {name: prod, context: {cluster: two, user: ana}}
- {name: nowhere, context: {cluster: three}}
clusters:
- {name: one, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Y2E=}}
- {name: two, cluster: {server: "https://10.0.0.2:6443", certificate-authority: ca.crt}}
users:
- {name: ana, user: {token: t0ken}}
`

// A kubeconfig's facts follow what decides which cluster it is, and nothing
// else in it.
func TestWhichClusterAKubeconfigLeadsTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("ca.crt", "ca\n")
	of := func(context string, replace ...string) string {
		put("config", strings.NewReplacer(replace...).Replace(someKubeconfig))
		return serverOf(Cluster{Name: "staging", Kubeconfig: path, Context: context})
	}
	was := of("")
	if was == "" || strings.Contains(was, "t0ken") {
		t.Fatalf("server %q", was)
	}
	for name, tc := range map[string]struct {
		got  string
		same bool
	}{
		"the context by its name":     {of("staging"), true},
		"other credentials":           {of("", "t0ken", "another"), true},
		"another name for the same":   {of("", "name: one", "name: uno", "cluster: one", "cluster: uno"), true},
		"a slash at the end":          {of("", "10.0.0.1:6443", "10.0.0.1:6443/"), true},
		"another context":             {of("prod"), false},
		"another current context":     {of("", "current-context: staging", "current-context: prod"), false},
		"another address":             {of("", "10.0.0.1", "10.0.0.3"), false},
		"another authority":           {of("", "Y2E=", "Y2I="), false},
		"no check of who it is":       {of("", "certificate-authority-data: Y2E=", "insecure-skip-tls-verify: true"), false},
		"another name of the server":  {of("", "certificate-authority-data", "tls-server-name: x, certificate-authority-data"), false},
		"a context that is not there": {of("none"), false},
		"a cluster that is not there": {of("nowhere"), false},
		"a file that is no YAML":      {of("", "apiVersion: v1", "{"), false},
	} {
		if (tc.got == was) != tc.same {
			t.Errorf("%s: %q, was %q", name, tc.got, was)
		}
	}
	inFile := of("prod")
	put("ca.crt", "another")
	if got := of("prod"); got == inFile {
		t.Error("another certificate in a file is not seen")
	}
	for _, c := range []Cluster{{}, {Kubeconfig: filepath.Join(dir, "none")}, {Kubeconfig: dir}} {
		if got := serverOf(c); got != "" {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(someKubeconfig), "staging")
	f.Add([]byte("contexts: 3"), "")
	f.Add([]byte("a: &a [*a]"), "")
	f.Fuzz(func(t *testing.T, text []byte, context string) {
		first, ok := apiIn(text, context)
		second, again := apiIn(text, context)
		if first != second || ok != again {
			t.Errorf("it is %+v, then %+v", first, second)
		}
	})
}

func TestLinesOfDiffs(t *testing.T) {
	for name, tc := range map[string]struct {
		diff           string
		added, removed int
	}{
		"none":       {"", 0, 0},
		"a new file": {"--- /dev/null\n+++ planned/Pod/a\n@@ -0,0 +1,2 @@\n+kind: Pod\n+a: b\n", 2, 0},
		"two files, with lines that look like names": {
			"--- a\n+++ b\n@@ -1,3 +1,3 @@\n x\n--- y\n+++ z\n w\n--- c\n+++ d\n@@ -1 +0,0 @@\n-gone\n", 1, 2},
		"lines without hunks":      {"+map[a:b]\n- PersistentVolumeClaim/data\n- Pod/x\n", 1, 2},
		"a hunk that is cut":       {"@@ -1,9 +1,9 @@\n-a\n+b", 1, 1},
		"hunks that are none":      {"@@ nonsense @@\n+a\n@@ -x,y +1 @@\n-b\n", 1, 1},
		"no newline at the end":    {"@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n", 1, 1},
		"a size beyond all bounds": {"@@ -1,99999999999999999999 +1,1 @@\n+a\n", 1, 0},
	} {
		if added, removed := countLines(tc.diff); added != tc.added || removed != tc.removed {
			t.Errorf("%s: +%d -%d, want +%d -%d", name, added, removed, tc.added, tc.removed)
		}
	}
}

func FuzzCountLines(f *testing.F) {
	f.Add("--- a\n+++ b\n@@ -1,3 +1,3 @@\n x\n--- y\n+++ z\n")
	f.Add("@@ -1,-5 +1 @@\n+")
	f.Fuzz(func(t *testing.T, diff string) {
		added, removed := countLines(diff)
		if lines := strings.Count(diff, "\n") + 1; added < 0 || removed < 0 || added+removed > lines {
			t.Errorf("+%d -%d of %d lines", added, removed, lines)
		}
	})
}
