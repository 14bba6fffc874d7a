package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// postgresProgram finds a program of PostgreSQL; its packages leave most of them
// off PATH.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Skipf("PostgreSQL is not installed: there is no %s", name)
	}
	return found[len(found)-1]
}

// startPostgres starts a PostgreSQL of the test's own and is its address, with a
// user that has a password.
func startPostgres(t *testing.T) string {
	t.Helper()
	initdb, postgres := postgresProgram(t, "initdb"), postgresProgram(t, "postgres")
	dir, err := os.MkdirTemp("", "berth-pg-") // where another user can get at it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 { // it refuses to run as root
		const nobody = 65534
		as.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("s3cret/pass word"), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	run := func(program string, args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = dir, as, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TMPDIR=" + dir}
		return cmd
	}
	if out, err := run(initdb, "-D", data, "-U", "octopod", "-A", "scram-sha-256", "--pwfile", password, "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := run(postgres, "-D", data, "-h", "127.0.0.1", "-p", port, "-k", dir, "-c", "fsync=off")
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
	})
	address := "postgres://octopod:s3cret%2Fpass%20word@127.0.0.1:" + port + "/postgres"
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), address)
		if err == nil {
			_ = conn.Close(t.Context())
			return address
		}
		if time.Now().After(deadline) {
			_ = server.Process.Kill()
			_ = server.Wait()
			t.Fatalf("PostgreSQL does not come up: %v\n%s", err, log.String())
		}
	}
}

// database makes a database of that name with the statements of a file.
func database(t *testing.T, address, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "octopod", name+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.TrimSuffix(address, "/postgres") + "/" + name
	for _, s := range []struct{ address, sql string }{{address, "create database " + name}, {own, string(text)}} {
		conn, err := pgx.Connect(t.Context(), s.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), s.sql); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = conn.Close(t.Context())
	}
	return own
}

// importing is a server with the app shop, and the command line for it.
type importing struct {
	*bottest.World
	t *testing.T
}

func newImporting(t *testing.T, keys ...string) *importing {
	t.Helper()
	shop := &actions.App{
		Name: "shop", Repo: "acme/shop", TTL: 72 * time.Hour, AllowSet: keys, Vars: map[string]string{},
		Parts: []actions.Part{{Name: "web", Use: "memory", With: map[string]any{}}},
	}
	w := bottest.New(t, redistest.Client(t), shop)
	sum := sha256.Sum256([]byte("adm-token"))
	other := sha256.Sum256([]byte("ana-token"))
	handler, err := api.New(api.Options{Service: w.Service, Tokens: []api.Token{
		{Actor: "adm", SHA256: hex.EncodeToString(sum[:]), Roles: []string{"admin"}}, {Actor: "ana", SHA256: hex.EncodeToString(other[:]), Roles: []string{"deployer"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	t.Setenv("BERTH_SERVER", server.URL)
	t.Setenv("BERTH_TOKEN", "adm-token")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	return &importing{World: w, t: t}
}

// berth runs the command line.
func (w *importing) berth(want int, args ...string) string {
	w.t.Helper()
	var out, errOut bytes.Buffer
	if got := run(args, strings.NewReader(""), &out, &errOut); got != want {
		w.t.Fatalf("berth %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, out.String(), errOut.String())
	}
	said := out.String() + errOut.String()
	for _, secret := range []string{"s3cret", "pass word", "pass%20word"} {
		if strings.Contains(said, secret) {
			w.t.Errorf("the password is told: %s", said)
		}
	}
	return said
}

func (w *importing) environment(name string) *actions.Environment {
	w.t.Helper()
	env, err := w.Store.Environment(context.Background(), actions.Name{App: "shop", Env: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return env
}

func TestImportFromEachVersionOfOctopod(t *testing.T) {
	address := startPostgres(t)
	for name, want := range map[string]struct {
		set   map[string]string
		notes string
	}{
		"octopod1":   {map[string]string{"LOG_LEVEL": "debug", "deployment.memory": "1Gi", "tag": "v7"}, ""},
		"octopod2":   {map[string]string{"LOG_LEVEL": "debug", "deployment.memory": "1Gi", "image.tag": "v7"}, "web.replicas: null"},
		"octopod2_1": {map[string]string{"LOG_LEVEL": "debug", "deployment.memory": "1Gi", "image.tag": "v7"}, "web.replicas: null"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newImporting(t, "LOG_LEVEL", "deployment.memory", "image.tag", "tag")
			db := database(t, address, name)
			t.Setenv("OCTOPOD_POSTGRES", db)
			args := []string{"import", "octopod", "--app", "shop"}

			dry := w.berth(0, args...)
			for _, said := range []string{"Nothing was changed", "--rename Big_Whale=big-whale", "Octopod still works on it", "allow_set: [", "\n  berth deploy shop/orca --set LOG_LEVEL=debug --set deployment.memory=1Gi --set", want.notes} {
				if !strings.Contains(dry, said) {
					t.Errorf("a dry run does not say %q:\n%s", said, dry)
				}
			}
			if _, err := w.Store.Environment(t.Context(), actions.Name{App: "shop", Env: "orca"}); actions.CodeOf(err) != actions.CodeNotFound {
				t.Fatalf("a dry run made an environment: %v", err)
			}

			w.berth(0, append(args, "--apply", "--rename", "Big_Whale=whale")...)
			orca := w.environment("orca")
			if orca.State != actions.StateRunning || fmt.Sprint(orca.Set) != fmt.Sprint(want.set) || len(orca.Links) != 2 || orca.URL != "https://orca.example.org" ||
				orca.CreatedAt.Format(time.DateOnly) != "2021-03-01" || orca.LastAction == nil || orca.LastAction.State != actions.RunFailed {
				t.Errorf("orca is %+v, last %+v", orca, orca.LastAction)
			}
			for name, state := range map[string]actions.State{"seal": actions.StateArchived, "squid": actions.StateFailure, "stuck": actions.StateFailure, "whale": actions.StateRunning} {
				if got := w.environment(name).State; got != state {
					t.Errorf("%s is %s, want %s", name, got, state)
				}
			}
			var again octopodImport
			if err := json.Unmarshal([]byte(w.berth(0, append(args, "--apply", "--rename", "Big_Whale=whale", "-o", "json")...)), &again); err != nil {
				t.Fatal(err)
			}
			for _, i := range again.Items {
				if i.Action != importExists && i.Deployment != "busy" {
					t.Errorf("the second time %s is %s (%s)", i.Deployment, i.Action, i.Reason)
				}
			}
		})
	}
	t.Run("what is refused is said, and the others are made", func(t *testing.T) {
		w := newImporting(t, "LOG_LEVEL", "deployment.memory")
		db := strings.TrimSuffix(address, "/postgres") + "/octopod2"
		said := w.berth(1, "import", "octopod", "--app", "shop", "--postgres", db, "--apply")
		if !strings.Contains(said, "does not allow") || w.environment("seal").State != actions.StateArchived {
			t.Error(said)
		}
		w.berth(0, "import", "octopod", "--app", "shop", "--postgres", db, "--apply", "--only", "orca", "--leave-out", "image.tag")
		if env := w.environment("orca"); env.Set["image.tag"] != "" {
			t.Errorf("orca has %v", env.Set)
		}
	})
	t.Run("rows that are broken keep nobody from the others", func(t *testing.T) {
		w := newImporting(t, "LOG_LEVEL")
		db := database(t, address, "broken")
		var got octopodImport
		if err := json.Unmarshal([]byte(w.berth(0, "import", "octopod", "--app", "shop", "--postgres", db, "--apply", "-o", "json")), &got); err != nil {
			t.Fatal(err)
		}
		what := map[string]string{}
		for _, i := range got.Items {
			what[i.Deployment] = i.Action + " " + i.Reason
		}
		for name, want := range map[string]string{
			"ancient": "made", "bc": "made", "future": "made", "linked": "made", "shape": "skip its overrides", "keyed": "skip Berth's allow_set", "odd": "skip the status", "e\x1b[31m\nx": "skip its name",
		} {
			if !strings.HasPrefix(what[name], want) {
				t.Errorf("%q: %q, want %q", name, what[name], want)
			}
		}
		if env := w.environment("linked"); len(env.Links) != 1 || env.Links[0].URL != "https://ok.example.org" {
			t.Errorf("its links are %v", env.Links)
		}
		if env := w.environment("bc"); time.Since(env.CreatedAt) > time.Hour {
			t.Errorf("it was made at %s", env.CreatedAt)
		}
		if said := w.berth(0, "import", "octopod", "--app", "shop", "--postgres", db); strings.ContainsRune(said, 0x1b) {
			t.Errorf("escape sequences reach the terminal: %q", said)
		}
	})
	t.Run("it needs the role admin", func(t *testing.T) {
		w := newImporting(t)
		t.Setenv("BERTH_TOKEN", "ana-token")
		if said := w.berth(4, "import", "octopod", "--app", "shop", "--postgres", strings.TrimSuffix(address, "/postgres")+"/octopod2", "--apply", "--only", "stuck"); !strings.Contains(said, "role admin") {
			t.Error(said)
		}
	})
	t.Run("an app that is not there is named before anything is made", func(t *testing.T) {
		w := newImporting(t)
		if said := w.berth(2, "import", "octopod", "--app", "shoop", "--postgres", strings.TrimSuffix(address, "/postgres")+"/octopod2"); !strings.Contains(said, `no app "shoop"`) {
			t.Error(said)
		}
	})
	t.Run("wrong addresses and databases say so without the password", func(t *testing.T) {
		w := newImporting(t)
		for db, want := range map[string]string{
			address: "no database of Octopod", strings.Replace(address, "word@", "wOrd@", 1): "cannot be reached", "postgres://octopod:s3cret@%zz/": "is no address",
			"postgres://octopod:s3cret@127.0.0.1:1/octopod": "cannot be reached", "": "--postgres is missing",
		} {
			code := 1
			if strings.Contains(want, "no address") || strings.Contains(want, "missing") {
				code = 2
			}
			if said := w.berth(code, "import", "octopod", "--app", "shop", "--postgres", db); !strings.Contains(said, want) {
				t.Errorf("%s: %s", want, said)
			}
		}
	})
}

func TestSuggestedNamesAreNames(t *testing.T) {
	taken := map[string]string{}
	for _, name := range []string{"Big_Whale", "big whale", "1st", "", "-", "x", "ünïcødé", strings.Repeat("Long", 30), strings.Repeat("Long", 31), "; rm -rf /", "big-whale"} {
		got := suggestName(name, taken)
		if _, err := actions.ParseName("shop/" + got); err != nil || taken[got] != "" {
			t.Errorf("for %q: %q, %v", name, got, err)
		}
		taken[got] = name
	}
}

func TestDeployLinesCanBeTyped(t *testing.T) {
	for value, want := range map[string]string{
		"v7": "berth deploy shop/orca --set k=v7", "": "berth deploy shop/orca --set k=", "it's; rm -rf /": `berth deploy shop/orca --set 'k=it'\''s; rm -rf /'`, "$(x)": `berth deploy shop/orca --set 'k=$(x)'`,
		"a\nb": "", strings.Repeat("x", 5000): "", "a\u202eb": "",
	} {
		if got, note := deployLine("shop/orca", map[string]string{"k": value}); got != want || (got == "") != (note != "") {
			t.Errorf("%.20q: %q (%s)", value, got, note)
		}
	}
	if got, note := deployLine("shop/orca", nil); got != "" || note != "" {
		t.Errorf("nothing set: %q (%s)", got, note)
	}
}

func FuzzOctopodOverrides(f *testing.F) {
	f.Add([]byte(`[["a.b",{"tag":"ValueAdded","contents":"c"}],["d",{"tag":"ValueDeleted"}]]`))
	f.Add([]byte(`[["a"]]`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseOverrides(data)
		if err != nil && len(list) > 0 {
			t.Fatal("a fault with a list")
		}
		_, _ = parseLinks(data)
	})
}

func TestErrorsHoldNoPassword(t *testing.T) {
	for _, address := range []string{"postgres://u:p%40ss%2Fword@h/d", "postgres://u:p@ss@h/d"} {
		err := withoutPassword(errors.New("cannot connect to "+address+" as p@ss/word, p%40ss%2Fword"), address)
		if slices.ContainsFunc([]string{"p@ss/word", "p%40ss", "p@ss@"}, func(s string) bool { return strings.Contains(err.Error(), s) }) && strings.Contains(address, "%40") {
			t.Error(err)
		}
	}
}
