package sdktest_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// flawed names, in the environment, the flaw of the executor that TestFlawed
// runs the suite on.
const flawed = "SDKTEST_FLAWED"

func TestMain(m *testing.M) {
	flaw := os.Getenv(flawed)
	if os.Getenv(sdk.Handshake().MagicCookieKey) != "" {
		if flaw == "outlives its host" && os.Getenv("PLUGIN_CLIENT_CERT") == "" {
			signal.Ignore(syscall.SIGTERM)
			fmt.Println("1|1|unix|/nowhere|grpc|")
			select {}
		}
		if flaw == "serves anybody" && os.Getenv("PLUGIN_MIN_PORT") == "" { // it is not go-plugin that starts it
			_ = os.Unsetenv("PLUGIN_CLIENT_CERT")
		}
		sdk.Serve(&memory{flaw: flaw, world: newWorld()})
		return
	}
	if os.Getenv(byHand) != "" {
		if flaw == "is silent by hand" {
			os.Exit(0)
		}
		sdk.Serve(&memory{world: newWorld()})
		return
	}
	os.Exit(m.Run())
}

// byHand, in the environment, makes this binary an executor even when no host
// starts it.
const byHand = "SDKTEST_EXECUTOR"

func suite(t *testing.T) sdktest.Suite {
	t.Helper()
	const token, other = "t0k<en>& 1", "an0ther t0k&n"
	file := filepath.Join(t.TempDir(), "token")
	rotate := func(value string) {
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate(token)
	return sdktest.Suite{
		Step: sdk.Step{
			With:     map[string]any{"text": secret},
			Secrets:  map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}},
			Settings: map[string]any{"shelf": "upper"},
		},
		Rotate:          func(*testing.T) { rotate(other) },
		Slow:            &sdk.Step{With: map[string]any{"text": "x"}},
		Invalid:         map[string]map[string]any{"no text": {}, "a number": {"text": 5}},
		InvalidSettings: map[string]map[string]any{"a shelf that is a number": {"shelf": 5}, "a height below the floor": {"height": -1}},
		Secrets:         []string{secret, token, other},
	}
}

// inProcess has the suite look at all that it can.
func inProcess(t *testing.T, flaw string) sdktest.Suite {
	t.Helper()
	s, w := suite(t), newWorld()
	s.New = func() sdk.Executor { return &memory{flaw: flaw, world: w} }
	s.Snapshot = func(*testing.T) string { return strings.Join(w.owned(), "\n") }
	s.Owned = func(*testing.T) []string { return w.owned() }
	s.Interrupted = func(_ *testing.T, n int) sdk.Executor {
		if flaw == "is never interrupted" {
			return &memory{world: w}
		}
		cut := sdktest.NewCut(n)
		return cut.Executor(&memory{flaw: flaw, world: w, cut: cut})
	}
	s.Say = func(_ *testing.T, line string) { w.say(line) }
	s.Said = func(*testing.T) string { return w.log }
	return s
}

// asProgram is for what only a program can do wrong.
func asProgram(t *testing.T, flaw string) sdktest.Suite {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := suite(t)
	s.Command, s.Env = []string{self}, []string{flawed + "=" + flaw, byHand + "=yes"}
	return s
}

func TestGoodExecutorInThisProcess(t *testing.T) { sdktest.Run(t, inProcess(t, "")) }

func TestGoodExecutorAsAProgram(t *testing.T) { sdktest.Run(t, asProgram(t, "")) }

// ofProgram are the flaws that show in a program alone.
var ofProgram = map[string]string{
	"prints a secret in pieces": "a secret is in the program's log",
	"outlives its host":         "it is still there",
	"serves anybody":            "it does not serve with TLS though the host asks for it",
	"is silent by hand":         "it says nothing; a person should read that Berth starts it",
}

// TestFlawed is the suite on an executor with a flaw; TestSuiteFindsFlaws runs
// it and sees it fail.
func TestFlawed(t *testing.T) {
	flaw := os.Getenv(flawed)
	if flaw == "" {
		t.Skip("it fails, and is run by TestSuiteFindsFlaws")
	}
	if _, ok := ofProgram[flaw]; ok {
		s := asProgram(t, flaw)
		s.CancelWithin = 10 * time.Second // a busy machine takes its time to start one
		sdktest.Run(t, s)
		return
	}
	s := inProcess(t, flaw)
	s.HealthyWithin, s.CancelWithin = time.Second, time.Second
	sdktest.Run(t, s)
}

func TestSuiteFindsFlaws(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	finds := func(flaw, want string) {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFlawed$", "-test.v")
			cmd.Env = append(os.Environ(), flawed+"="+flaw)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) {
				t.Errorf("error %v; want %q in\n%s", err, want, out)
			}
		})
	}
	for flaw, want := range ofProgram {
		finds(flaw, want)
	}
	for flaw, want := range map[string]string{
		"schema":                "the schema is not a JSON Schema",
		"schema of settings":    "the schema of the executor's settings is not a JSON Schema",
		"no schema of settings": "which says that it takes none",
		"moody":                 "Describe says something else after another start",
		"accepts":               `is a success; want a failure of fault "invalid"`,
		"accepts settings":      "Run, with settings that the schema accepts, is a success",
		"speechless":            "failed with FAULT_INTERNAL, want FAULT_INVALID",
		"plan deploys":          "it changed the world",
		"plan leaks":            "a secret is in the diff of Plan",

		"address leaks":     "a secret is in the diff of Plan",
		"secret decides":    "another value of a secret changes the inputs",
		"secret is guessed": "Run without a secret is a success",
		"logs a secret":     "a secret is in what Said tells (it is number 2 of Suite.Secrets)",

		"resources leak":   "a secret is in the resources of Plan",
		"plan is harmless": "is not destructive, and what it does to Text /",
		"plan says twice":  "twice",
		"plan is vague":    "does not say what becomes of Text /",
		"never agrees":     "that checks what was agreed on has other inputs",

		"once":               "deploy of what is already so",
		"restless":           "the second deploy, of the same step, changed the world again",
		"never absent":       "Observe says HEALTH_HEALTHY () after a cleanup",
		"observe changes":    "Observe changed the world",
		"facts of two lines": "a fact of Observe is not a name and a text of one line each",
		"facts twice":        `Observe tells the fact "things" twice`,
		"renews for ever":    "asks for another deploy right after one",
		"stubborn":           "Run still goes on",

		"owns nothing":    "Inventory lists nothing of sdktest/pr-1",
		"owns all":        "Inventory says that another installation owns",
		"takes all":       "another installation's cleanup took what is not its own",
		"owns twice":      "Inventory lists conformance Thing /conformance/index twice",
		"checks nothing":  "Check has looked at nothing",
		"finds fault":     "Check finds fault with what the suite works with: shelf: It leans.",
		"gives no advice": "does not say what it found and what to do",

		"no logs":            "Logs has not what the part's program printed",
		"logs backwards":     "after what was printed at",
		"logs all":           "Logs has lines that hold a text that is nowhere",
		"no tail":            "Logs has more than the last line of memory/app",
		"follow ends":        "Logs ended by itself while it followed",
		"follow is stubborn": "Logs still goes on",

		"is never interrupted": "Interrupted interrupts nothing",
		"forgets halves":       "cleanup after a deploy that was cut off leaves conformance/text",
		"forgets the index":    "leaves conformance/index",
		"makes another":        "there is not what an undisturbed one makes",
		"blames people":        "the executor holds the user's input to be at fault",
	} {
		finds(flaw, want)
	}
}
