package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// people are the actors of these tests: ana asks, ben and cem are the sre.
const people = `actors:
  - {name: ana, roles: [dev], identities: ["github:ana"]}
  - {name: ben, roles: [sre], identities: ["github:ben"]}
  - {name: cem, roles: [sre], identities: ["github:cem"]}
`

// needs is a policy for the world's own app.
func needs(verb, approve string) string {
	return fmt.Sprintf(`policies:
  - name: sre-agrees
    when: request.verb == %q
    approve: %s
    break_glass: [role:sre]
`, verb, approve)
}

// newJury is a world with people who can decide.
func newJury(t testing.TB, policies string) *world {
	w := newWorld(t)
	// ben may agree without a right to write to the repository.
	for login, permission := range map[string]string{"ben": "read", "cem": "write"} {
		must(t, w.github.AddUser(githubtest.User{Login: login, Roles: map[string]string{repo: permission}}))
	}
	w.rules = people + policies
	return w
}

// awaitRequest waits until the newest request of the verb is in the state, and
// returns it.
func (b *berth) awaitRequest(verb, state string) map[string]any {
	b.w.t.Helper()
	var found map[string]any
	b.w.await(verb+" to be "+state, func() bool {
		for _, r := range b.requests() {
			if r["verb"] == verb {
				found = r
				return r["state"] == state
			}
		}
		return false
	})
	return found
}

// cli runs the command line against the replica, as whoever has the token, and
// returns its exit code and output.
func (b *berth) cli(token string, args ...string) (int, string) {
	b.w.t.Helper()
	cmd := exec.CommandContext(b.w.t.Context(), filepath.Join(programs, "berth"), args...)
	cmd.Env = append(os.Environ(), "BERTH_SERVER="+b.url, "BERTH_TOKEN="+token, "BERTH_CONFIG="+b.file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			b.w.t.Fatal(err)
		}
		return exit.ExitCode(), string(out)
	}
	return 0, string(out)
}

// hash is how a token stands in the config.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestACleanupRunsOnceTheRightPersonSaidYesOnThePullRequest(t *testing.T) {
	w := newJury(t, needs("cleanup", "{count: 1, from: [role:sre], not_requester: true, within: 4h}"))
	b := w.startBerth(w.simpleApp())
	w.comment(ana, "/deploy")
	w.awaitSays("is running")

	w.comment(ana, "/cleanup")
	b.awaitRequest("cleanup", "pending")
	w.awaitSays("sre-agrees", "role:sre", "/approve", "/deny")

	own := w.comment(ana, "/approve")
	w.await("ana's own yes to be refused", func() bool {
		return slices.Contains(w.reactions(own), "-1") || slices.Contains(w.reactions(own), "confused")
	})
	b.awaitRequest("cleanup", "pending")
	reader := w.comment(eve, "/approve")
	w.await("a reader's yes to be refused", func() bool { return len(w.reactions(reader)) > 0 })
	b.awaitRequest("cleanup", "pending")

	w.comment("ben", "/approve")
	w.awaitSays("is cleaned up")
	r := b.awaitRequest("cleanup", "succeeded")
	if approvals, _ := r["approvals"].([]any); len(approvals) != 1 {
		t.Errorf("the request's approvals are %v", r["approvals"])
	}
	late := w.comment("cem", "/approve "+r["id"].(string))
	w.await("a yes that comes too late to be answered", func() bool { return len(w.reactions(late)) > 1 })
	w.awaitSays("has ended already")
	if code, out := b.cli(apiToken, "audit", "verify"); code != 0 {
		t.Errorf("the audit does not verify: %d\n%s", code, out)
	}
}

func TestAPolicyThatIsTightenedHoldsForWhatWaitsAlready(t *testing.T) {
	w := newJury(t, needs("deploy", "{count: 1, from: [role:sre]}"))
	app := w.simpleApp()
	b := w.startBerth(app)
	w.comment(ana, "/deploy")
	r := b.awaitRequest("deploy", "pending")

	w.rules = people + needs("deploy", "{count: 2, from: [role:sre]}")
	b.config(app)
	w.await("the new policy to be in force", func() bool {
		_, body := b.get("/api/v1/requests/" + r["id"].(string))
		return strings.Contains(body, `"count":2`)
	})
	w.comment("ben", "/approve")
	w.await("ben's yes to count", func() bool {
		for _, now := range b.requests() {
			if list, _ := now["approvals"].([]any); now["id"] == r["id"] && len(list) == 1 {
				return true
			}
		}
		return false
	})
	if now := b.awaitRequest("deploy", "pending"); now["id"] != r["id"] {
		t.Errorf("another request waits: %v", now)
	}
	w.comment("cem", "/approve")
	b.awaitRequest("deploy", "succeeded")
}

func TestAConfigWithAFaultIsNotTakenUpWhileBerthRuns(t *testing.T) {
	w := newJury(t, needs("deploy", "{count: 1, from: [role:sre]}"))
	app := w.simpleApp()
	b := w.startBerth(app)
	w.rules = people + "policies:\n  - {name: broken, when: request.vreb == 'deploy', release: true}\n"
	b.config(app)
	w.await("the fault to be told", func() bool { return strings.Contains(b.log.String(), "vreb") })
	w.comment(ana, "/deploy")
	b.awaitRequest("deploy", "pending")
	if code, body := b.get("/readyz"); code != http.StatusOK || !strings.Contains(body, "config") {
		t.Errorf("/readyz says %d %s", code, body)
	}
}

func TestACommitThatComesAfterThePlanIsNotRunOnTheOldYes(t *testing.T) {
	w := newJury(t, needs("deploy", "{count: 1, from: [role:sre]}"))
	b := w.startBerth(w.simpleApp())
	w.comment(ana, "/deploy")
	b.awaitRequest("deploy", "pending")
	sha, err := w.github.PushToPullRequest(repo, w.pull, githubtest.Commit{
		Message: "Round up", Author: ana, Write: map[string]string{"main.go": "package main\n"},
	})
	must(t, err)
	w.comment("ben", "/approve")
	w.awaitSays("commit", sha[:7], "/approve")
	if r := b.awaitRequest("deploy", "pending"); len(r["approvals"].([]any)) != 0 {
		t.Errorf("the old yes still counts: %v", r)
	}
	w.comment("cem", "/approve")
	if r := b.awaitRequest("deploy", "succeeded"); r["commit"] != sha {
		t.Errorf("it ran %v, want %s", r["commit"], sha)
	}
}

func TestGlassIsBrokenLoudly(t *testing.T) {
	w := newJury(t, needs("deploy", "{count: 2, from: [role:sre]}"))
	b := w.startBerth(w.simpleApp())
	w.comment(ana, "/deploy")
	b.awaitRequest("deploy", "pending")
	no := w.comment("ben", "/approve --break-glass")
	w.await("glass broken for no reason to be refused", func() bool {
		return slices.Contains(w.reactions(no), "-1") || slices.Contains(w.reactions(no), "confused")
	})
	w.comment("ben", `/approve --break-glass --reason "the demo is now"`)
	w.awaitSays("ben", "the demo is now", "glass")
	b.awaitRequest("deploy", "succeeded")
	_, audit := b.get("/api/v1/audit?limit=1000")
	if !strings.Contains(audit, "request.glass_broken") {
		t.Errorf("the audit does not tell: %s", audit)
	}
}

func TestApprovalsInATerminal(t *testing.T) {
	w := newJury(t, needs("deploy", "{count: 1, from: [role:sre], not_requester: true}"))
	b := w.prepareBerth(w.simpleApp())
	// The tokens of two people, beside that of the tests.
	text, err := os.ReadFile(b.file)
	must(t, err)
	config := strings.Replace(string(text), "tokens: [", fmt.Sprintf("tokens: [{actor: ana, sha256: %q, roles: [dev]}, {actor: ben, sha256: %q}, ", hash("token-of-ana"), hash("token-of-ben")), 1)
	must(t, os.WriteFile(b.file, []byte(config), 0o600))
	b.start()
	b.awaitReady()

	code, out := b.cli("token-of-ana", "deploy", w.env())
	if code != 3 || !strings.Contains(out, "berth approve") {
		t.Fatalf("deploy exits with %d: %s", code, out)
	}
	id, _ := b.awaitRequest("deploy", "pending")["id"].(string)
	if code, out := b.cli("token-of-ana", "explain", id); code != 0 || !strings.Contains(out, "role:sre") || !strings.Contains(out, "sre-agrees") {
		t.Errorf("explain exits with %d: %s", code, out)
	}
	if code, out := b.cli("token-of-ana", "approve", id); code != 4 || !strings.Contains(out, "does not count") {
		t.Errorf("one's own approve exits with %d: %s", code, out)
	}
	if code, out := b.cli("token-of-ana", "policy", "explain", "--as", "ana", "deploy", w.env()); code != 0 || !strings.Contains(out, "role:sre") {
		t.Errorf("policy explain exits with %d: %s", code, out)
	}
	if code, out := b.cli("token-of-ben", "approve", id); code != 0 {
		t.Errorf("approve exits with %d: %s", code, out)
	}
	b.awaitRequest("deploy", "succeeded")
	if code, out := b.cli("token-of-ben", "approve", id); code != 0 || !strings.Contains(out, "counted already") {
		t.Errorf("the same approval again exits with %d: %s", code, out)
	}
	if code, out := b.cli("token-of-ana", "approve", id); code == 0 || !strings.Contains(out, "ended already") {
		t.Errorf("approving what has ended exits with %d: %s", code, out)
	}
	if code, out := b.cli("token-of-ben", "approve", "01m7xpv4h8q4h52fmqnz7aa3em"); code == 0 || !strings.Contains(out, "no request") {
		t.Errorf("approving an unknown one exits with %d: %s", code, out)
	}
	code, lines := b.cli("token-of-ben", "audit", "-o", "ndjson")
	if code != 0 {
		t.Fatalf("audit exits with %d: %s", code, lines)
	}
	for line := range strings.Lines(lines) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("a line of the export is %q: %v", line, err)
		}
	}
	file := filepath.Join(t.TempDir(), "audit.ndjson")
	must(t, os.WriteFile(file, []byte(lines), 0o600))
	if code, out := b.cli("token-of-ben", "audit", "verify", "--file", file); code != 0 {
		t.Errorf("the export does not verify: %d %s", code, out)
	}
	must(t, os.WriteFile(file, []byte(strings.Replace(lines, `"actor":"ben"`, `"actor":"eve"`, 1)), 0o600))
	if code, out := b.cli("token-of-ben", "audit", "verify", "--file", file); code != 1 {
		t.Errorf("a changed export verifies: %d %s", code, out)
	}
}
