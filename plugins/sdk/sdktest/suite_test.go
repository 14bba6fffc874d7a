package sdktest_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// flawed names, in the environment, the flaw of the executor that TestFlawed
// runs the suite on.
const flawed = "SDKTEST_FLAWED"

func TestMain(m *testing.M) {
	if os.Getenv(sdk.Handshake().MagicCookieKey) != "" {
		sdk.Serve(newMemory("", &sync.Map{}))
		return
	}
	os.Exit(m.Run())
}

// memory keeps what it deploys in a map, and has one flaw.
type memory struct {
	flaw  string
	world *sync.Map
}

func newMemory(flaw string, world *sync.Map) *memory { return &memory{flaw, world} }

const secret = "hunter2-hunter2"

func (m *memory) Describe() sdk.Description {
	d := sdk.Description{
		Name: "memory", Version: "0.1.0",
		Verbs:  []sdk.Verb{sdk.Deploy, sdk.Cleanup, sdk.Archive, sdk.Restore, sdk.Rollback},
		Schema: map[string]any{"type": "object", "required": []any{"text"}},
	}
	switch m.flaw {
	case "schema":
		d.Schema["type"] = "something"
	case "moody":
		n, _ := m.world.LoadOrStore("describes", new(int))
		count := n.(*int)
		*count++
		d.Version = fmt.Sprintf("0.1.%d", *count)
	}
	return d
}

func (m *memory) check(s sdk.Step) error {
	if _, ok := s.With["text"].(string); !ok && m.flaw != "accepts" {
		if m.flaw == "speechless" {
			return fmt.Errorf("invalid")
		}
		return sdk.Invalid("The part needs `text`, which it lacks.")
	}
	return nil
}

// token is the value of the step's secret.
func (m *memory) token(s sdk.Step) (string, error) {
	values, err := sdk.Secrets{Getenv: os.Getenv}.Resolve(context.Background(), s)
	if m.flaw == "secret is guessed" {
		err = nil
	}
	return values["TOKEN"], err
}

func (m *memory) Plan(_ context.Context, s sdk.Step) (sdk.Plan, error) {
	if err := m.check(s); err != nil {
		return sdk.Plan{}, err
	}
	token, err := m.token(s)
	if err != nil {
		return sdk.Plan{}, err
	}
	p := sdk.Plan{Summary: "set " + s.Part, Inputs: map[string]string{"text": fmt.Sprint(len(s.With))}}
	switch m.flaw {
	case "plan deploys":
		m.world.Store(s.Part, true)
	case "plan leaks":
		p.Diff = "+ password: " + fmt.Sprint(s.With["text"])
	case "address leaks":
		p.Diff = "+ https://x.example.org/?token=" + url.QueryEscape(token)
	case "secret decides":
		p.Inputs["token"] = fmt.Sprint(len(token))
	case "resources leak":
		p.Resources = []sdk.Resource{{Kind: "Text", Name: fmt.Sprint(s.With["text"]), Change: sdk.ChangeCreate}}
	case "plan is harmless":
		p.Resources = []sdk.Resource{{Kind: "Text", Name: s.Part, Change: sdk.ChangeDelete, Destructive: true}}
	case "plan says twice":
		p.Resources = []sdk.Resource{{Kind: "Text", Name: s.Part, Change: sdk.ChangeUpdate}, {Kind: "Text", Name: s.Part, Change: sdk.ChangeDelete}}
	case "plan is vague":
		p.Resources = []sdk.Resource{{Kind: "Text", Name: s.Part}}
	case "never agrees":
		if s.Agreed != nil {
			p.Inputs = nil
		}
	}
	return p, nil
}

func (m *memory) Observe(_ context.Context, s sdk.Step) (sdk.Observation, error) {
	if _, ok := m.world.Load(s.Part); ok || m.flaw == "never absent" {
		return sdk.Observation{Health: sdk.Healthy, Links: []sdk.Link{{Name: "it", URL: "memory://" + s.Part}}}, nil
	}
	return sdk.Observation{Health: sdk.Absent}, nil
}

func (m *memory) Run(ctx context.Context, s sdk.Step, out sdk.Events) error {
	if err := m.check(s); err != nil {
		return err
	}
	if s.Part == "slow" && s.Verb == sdk.Deploy {
		out.Progress("waiting for ever", 0, 1)
		if m.flaw == "stubborn" {
			select {}
		}
		<-ctx.Done()
		return ctx.Err()
	}
	switch s.Verb {
	case sdk.Deploy, sdk.Restore, sdk.Rollback:
		if _, err := m.token(s); err != nil {
			return err
		}
		_, there := m.world.Swap(s.Part, true)
		if there && m.flaw == "once" {
			return sdk.Downstream("It already exists.")
		}
		out.Log("deployed")
		out.Output("address", "memory://"+s.Part)
	case sdk.Cleanup, sdk.Archive:
		m.world.Delete(s.Part)
	}
	return nil
}

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
			With:    map[string]any{"text": secret},
			Secrets: map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}},
		},
		Rotate:  func(*testing.T) { rotate(other) },
		Slow:    &sdk.Step{With: map[string]any{"text": "x"}},
		Invalid: map[string]map[string]any{"no text": {}, "a number": {"text": 5}},
		Secrets: []string{secret, token, other},
	}
}

func TestGoodExecutorInThisProcess(t *testing.T) {
	s, world := suite(t), &sync.Map{}
	s.New = func() sdk.Executor { return newMemory("", world) }
	s.Snapshot = func(*testing.T) string {
		all := ""
		world.Range(func(k, _ any) bool { all += fmt.Sprint(k, " "); return true })
		return all
	}
	sdktest.Run(t, s)
}

func TestGoodExecutorAsAProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := suite(t)
	s.Command = []string{self}
	sdktest.Run(t, s)
}

// TestFlawed is the suite on an executor with a flaw; TestSuiteFindsFlaws runs
// it and sees it fail.
func TestFlawed(t *testing.T) {
	flaw := os.Getenv(flawed)
	if flaw == "" {
		t.Skip("it fails, and is run by TestSuiteFindsFlaws")
	}
	s, world := suite(t), &sync.Map{}
	s.New = func() sdk.Executor { return newMemory(flaw, world) }
	s.HealthyWithin, s.CancelWithin = time.Second, time.Second
	sdktest.Run(t, s)
}

func TestSuiteFindsFlaws(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, want := range map[string]string{
		"schema":       "the schema is not a JSON Schema",
		"moody":        "Describe says something else after another start",
		"accepts":      `is a success; want a failure of fault "invalid"`,
		"speechless":   "failed with FAULT_INTERNAL, want FAULT_INVALID",
		"plan deploys": "it changed the world",
		"plan leaks":   "a secret is in the diff of Plan",

		"address leaks":     "a secret is in the diff of Plan",
		"secret decides":    "another value of a secret changes the inputs",
		"secret is guessed": "Run without a secret is a success",

		"resources leak":   "a secret is in the resources of Plan",
		"plan is harmless": "is not destructive, and what it does to Text /",
		"plan says twice":  "twice",
		"plan is vague":    "does not say what becomes of Text /",
		"never agrees":     "that checks what was agreed on has other inputs",
		"once":             "deploy of what is already so",
		"never absent":     "Observe says HEALTH_HEALTHY () after a cleanup",
		"stubborn":         "Run still goes on",
	} {
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
}
