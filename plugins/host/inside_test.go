package host

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	const low, high = 100 * time.Millisecond, 30 * time.Second
	for failures, want := range map[int]time.Duration{0: low, 1: 2 * low, 4: 16 * low, 9: high, 63: high, 1 << 20: high} {
		for range 100 {
			if got := backoff(low, high, failures); got < want/2 || got > want {
				t.Fatalf("after %d failures %s, want %s to %s", failures, got, want/2, want)
			}
		}
	}
}

func TestGuardForgetsGroupsThatEnded(t *testing.T) {
	g := newGuard()
	g.add(1 << 29) // no such process groups
	g.add(1<<29 + 1)
	g.remove(1 << 29)
	if g.pipe == nil || len(g.groups) != 1 {
		t.Fatalf("guard %+v", g)
	}
	g.remove(1<<29 + 1)
	if g.pipe != nil {
		t.Error("the shell stays when there is nothing to guard")
	}
	g.remove(7)
	g.add(1 << 29)
	if g.pipe == nil {
		t.Error("no shell guards the next group")
	}
	g.remove(1 << 29)
}

func TestSchemaFaultsAreSentences(t *testing.T) {
	s, err := compileSchema(map[string]any{
		"type": "object",
		"properties": map[string]any{
			"db": map[string]any{"oneOf": []any{
				map[string]any{"type": "string", "pattern": "^[a-z]+$"},
				map[string]any{"type": "object", "required": []any{"class"}},
			}},
			"ports": map[string]any{"type": "array", "maxItems": 2, "items": map[string]any{"type": "integer", "maximum": 65535}},
			"mode":  map[string]any{"const": "on"},
			"off":   false,
			"short": map[string]any{"type": "string", "maxLength": 3},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		with        map[string]any
		provisional bool
		want        string // "" when there is no fault
	}{
		"nothing is fine":                              {with: nil},
		"an alternative that holds":                    {with: map[string]any{"db": "main"}},
		"alternatives are told together":               {with: map[string]any{"db": 5}, want: "with.db is of type number and has to be string, or with.db is of type number and has to be object"},
		"a doubtful text has the benefit of the doubt": {with: map[string]any{"db": "{{ .Outputs.x }}"}, provisional: true},
		"but not when it is run":                       {with: map[string]any{"db": "{{ .Outputs.x }}"}, want: "does not match the pattern"},
		"a path into a list":                           {with: map[string]any{"ports": []any{1, 70000}}, want: "with.ports.1 is more than 65535"},
		"a list that is too long":                      {with: map[string]any{"ports": []int{1, 2, 3}}, want: "with.ports has more than 2 items"},
		"a value that must be another":                 {with: map[string]any{"mode": "off"}, want: `with.mode has to be "on"`},
		"a key that must not be":                       {with: map[string]any{"off": 1}, want: "with.off is not known to the executor"},
		"the value is not repeated":                    {with: map[string]any{"short": "hunter2"}, want: "with.short is longer than 3"},
		"no more than three are told":                  {with: map[string]any{"short": "long", "mode": 1, "off": 1, "db": 1, "ports": 1}, want: "; and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			step := actions.Step{Part: "web", Verb: actions.VerbDeploy, With: tt.with}
			_, with, err := stepToWire("x", step)
			if err != nil {
				t.Fatal(err)
			}
			err = s.check("x", step.Part, with, tt.provisional)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if actions.CodeOf(err) != actions.CodeInvalid || !strings.Contains(actions.Message(err), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestSettingsOfEveryTypeAreCarried(t *testing.T) {
	type text string
	seven := 7
	_, with, err := stepToWire("x", actions.Step{Verb: actions.VerbDeploy, With: map[string]any{
		"int": 1, "uint64": uint64(2), "int8": int8(3), "float32": float32(0.5), "number": json.Number("4"), "fraction": json.Number("0.25"),
		"text": text("a"), "list": []string{"b"}, "map": map[string]string{"k": "v"}, "loose": map[any]any{"k": true},
		"pointer": &seven, "nothing": nil, "day": time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(with)
	const want = `{"day":"2026-01-02T00:00:00Z","float32":0.5,"fraction":0.25,"int":1,"int8":3,"list":["b"],"loose":{"k":true},"map":{"k":"v"},"nothing":null,"number":4,"pointer":7,"text":"a","uint64":2}`
	if err != nil || string(got) != want {
		t.Errorf("settings %s, error %v", got, err)
	}
	for name, v := range map[string]any{
		"not a number": math.NaN(), "infinite": math.Inf(1), "huge": int64(1) << 60, "huge, of JSON": json.Number("1152921504606846976"), "a channel": make(chan int),
		"a key that is no text": map[int]string{1: "x"}, "not UTF-8": map[string]any{"a": []any{"\xff"}}, "not UTF-8 as a key": map[string]any{"\xff": 1},
	} {
		if _, _, err := stepToWire("x", actions.Step{Part: "web", Verb: actions.VerbDeploy, With: map[string]any{"k": v}}); actions.CodeOf(err) != actions.CodeInvalid || !strings.Contains(actions.Message(err), `Part "web": with.k`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryVerbAndHealthHasItsTwin(t *testing.T) {
	for v := range executorv1.Verb_name {
		if _, ok := verbsFromWire[executorv1.Verb(v)]; !ok && v != 0 {
			t.Errorf("verb %s is not mapped", executorv1.Verb(v))
		}
	}
	for _, v := range actions.Verbs() {
		if _, ok := verbsToWire[v]; !ok && v != actions.VerbExtend {
			t.Errorf("verb %s is not mapped", v)
		}
	}
	for h := range executorv1.Health_name {
		if _, ok := healthFromWire[executorv1.Health(h)]; !ok {
			t.Errorf("health %s is not mapped", executorv1.Health(h))
		}
	}
	for f := range executorv1.Fault_name {
		if _, ok := codeOfFault[executorv1.Fault(f)]; !ok {
			t.Errorf("fault %s is not mapped", executorv1.Fault(f))
		}
	}
}

// FuzzOutput feeds what a program may print: nothing of it may stop the reader,
// get a secret through, or make a line of the log longer than it may be.
func FuzzOutput(f *testing.F) {
	for _, seed := range []string{
		"plain\n", `{"@level":"warn","@message":"m","@timestamp":"x","k":{"a":[1]}}`, `{"@message":5,"@level":{}}`,
		"panic: x\n\ngoroutine 1\n", "\xff\xfe\r\n\r\n", strings.Repeat("a", maxLogLine) + "\nb", "tok-secret", `{"@level":"x","@message":"tok-secret","tok-secret":"y"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, printed []byte) {
		var log bytes.Buffer
		o := newOutput(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), []string{"tok-secret"})
		o.lines(bytes.NewReader(printed), o.stderr)
		if bytes.Contains(log.Bytes(), []byte("tok-secret")) {
			t.Errorf("the secret is in %q", log.String())
		}
		if n := len(o.lastWords()); n > maxLogLine+64 {
			t.Errorf("last words of %d bytes", n)
		}
	})
}
