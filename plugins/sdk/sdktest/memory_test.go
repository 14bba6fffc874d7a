package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// world is what memory executors work on: things by name, and what they print.
type world struct {
	mu      sync.Mutex
	things  map[string]string // to the part that owns each
	printed []sdk.LogLine
	told    chan struct{} // closed when more is printed
	log     string        // what an executor in this process has logged
	starts  int           // Describe was asked so often
}

func newWorld() *world { return &world{things: map[string]string{}, told: make(chan struct{})} }

// owned are the names of all things, sorted.
func (w *world) owned() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name := range w.things {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func (w *world) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.printed = append(w.printed, sdk.LogLine{Time: time.Unix(int64(1000+len(w.printed)), 0), Source: "memory/app", Text: line})
	close(w.told)
	w.told = make(chan struct{})
}

// memory makes two things of a part in its world, and has one flaw.
type memory struct {
	flaw  string
	world *world
	cut   *sdktest.Cut // nil for one that stays well
}

const secret = "hunter2-hunter2"

func (m *memory) Describe() sdk.Description {
	d := sdk.Description{
		Name: "memory", Version: "0.1.0",
		Verbs:  []sdk.Verb{sdk.Deploy, sdk.Cleanup, sdk.Archive, sdk.Restore, sdk.Rollback},
		Schema: map[string]any{"type": "object", "required": []any{"text"}},
		SettingsSchema: map[string]any{"type": "object", "properties": map[string]any{
			"shelf": map[string]any{"type": "string"}, "height": map[string]any{"type": "integer"},
		}},
	}
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	m.world.starts++
	switch m.flaw {
	case "schema":
		d.Schema["type"] = "something"
	case "schema of settings":
		d.SettingsSchema["type"] = "something"
	case "no schema of settings":
		d.SettingsSchema = nil
	case "moody":
		d.Version = fmt.Sprintf("0.1.%d", m.world.starts)
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
	if h, _ := s.Settings["height"].(int64); h < 0 && m.flaw != "accepts settings" {
		return sdk.Invalid("The shelf has a height below the floor.")
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

// call does something to the world, which an executor that was cut off cannot.
func (m *memory) call(do func(things map[string]string)) error {
	locked := func() error {
		m.world.mu.Lock()
		defer m.world.mu.Unlock()
		do(m.world.things)
		return nil
	}
	if m.cut == nil {
		return locked()
	}
	if err := m.cut.Call(locked); err != nil {
		if m.flaw == "blames people" {
			return sdk.Invalid("The shelf that was named is not there.")
		}
		return sdk.Downstream("The shelf does not answer: %w", err).WithRetry()
	}
	return nil
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
		err = m.call(func(things map[string]string) { things[s.Part+"/text"] = s.Part })
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
	return p, err
}

func (m *memory) Observe(_ context.Context, s sdk.Step) (sdk.Observation, error) {
	m.world.mu.Lock()
	defer m.world.mu.Unlock()
	o := sdk.Observation{Health: sdk.Absent}
	if _, ok := m.world.things[s.Part+"/text"]; ok || m.flaw == "never absent" {
		o.Health, o.Links = sdk.Healthy, []sdk.Link{{Name: "it", URL: "memory://" + s.Part}}
		o.Facts = []sdk.Fact{{Name: "things", Text: fmt.Sprint(len(m.world.things))}}
		switch m.flaw {
		case "observe changes":
			m.world.things[fmt.Sprintf("%s/seen-%d", s.Part, len(m.world.things))] = s.Part
		case "facts of two lines":
			o.Facts[0].Text = "one\ntwo"
		case "facts twice":
			o.Facts = append(o.Facts, o.Facts...)
		case "renews for ever":
			o.Renew = "it is never new enough"
		}
	}
	return o, nil
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
		token, err := m.token(s)
		if err != nil {
			return err
		}
		m.talk(token)
		out.Log("deployed")
		out.Output("address", "memory://"+s.Part)
		return m.put(s)
	case sdk.Cleanup, sdk.Archive:
		return m.take(s)
	}
	return nil
}

// talk is for flaws: the executor's log is no place for secrets.
func (m *memory) talk(token string) {
	switch m.flaw {
	case "logs a secret":
		m.world.log += "using " + token
	case "prints a secret in pieces":
		half := len(token) / 2
		fmt.Fprint(os.Stderr, "using ", token[:half])
		fmt.Fprintln(os.Stderr, token[half:])
	}
}

// put makes a text and then its index, each unless it is there.
func (m *memory) put(s sdk.Step) error {
	there, name := false, s.Part+"/text"
	if err := m.call(func(things map[string]string) {
		_, there = things[s.Part+"/index"]
		if m.flaw == "makes another" && !there {
			name = fmt.Sprintf("%s/text-%d", s.Part, len(things))
		}
	}); err != nil {
		return err
	}
	if there && m.flaw == "once" {
		return sdk.Downstream("It already exists.")
	}
	if m.flaw == "restless" {
		name = fmt.Sprintf("%s/text-%d", s.Part, len(m.world.owned()))
	}
	if there && m.flaw != "restless" {
		return nil
	}
	for _, thing := range []string{name, s.Part + "/index"} {
		if err := m.call(func(things map[string]string) { things[thing] = s.Part }); err != nil {
			return err
		}
	}
	if m.flaw == "makes another" {
		return m.call(func(things map[string]string) { things[s.Part+"/text"] = s.Part })
	}
	return nil
}

// take takes away what bears the part's mark.
func (m *memory) take(s sdk.Step) error {
	if s.Installation != "sdktest" && m.flaw != "takes all" {
		return nil
	}
	var mine []string
	err := m.call(func(things map[string]string) {
		_, indexed := things[s.Part+"/index"]
		for name, owner := range things {
			if owner == s.Part && (indexed || m.flaw != "forgets halves") {
				mine = append(mine, name)
			}
		}
	})
	if m.flaw == "forgets the index" {
		mine = slices.DeleteFunc(mine, func(name string) bool { return strings.HasSuffix(name, "/index") })
	}
	for _, name := range mine {
		err = errors.Join(err, m.call(func(things map[string]string) { delete(things, name) }))
	}
	return err
}

func (m *memory) Inventory(_ context.Context, scope sdk.Scope) (all []sdk.Owned, err error) {
	if m.flaw == "owns nothing" || scope.Installation != "sdktest" && m.flaw != "owns all" {
		return nil, nil
	}
	err = m.call(func(things map[string]string) {
		for name, part := range things {
			all = append(all, sdk.Owned{App: "sdktest", Env: "pr-1", Part: part, Kind: "Thing", Name: name})
		}
	})
	if m.flaw == "owns twice" {
		all = append(all, all...)
	}
	return all, err
}

func (m *memory) Check(context.Context, sdk.Scope) ([]sdk.Finding, error) {
	switch m.flaw {
	case "checks nothing":
		return nil, nil
	case "finds fault":
		return []sdk.Finding{{Name: "shelf", Detail: "It leans.", Fix: "Set it upright."}}, nil
	case "gives no advice":
		return []sdk.Finding{{Name: "shelf", Detail: "It leans."}}, nil
	}
	return []sdk.Finding{{Name: "shelf", OK: true, Detail: "It stands."}}, nil
}

func (m *memory) Logs(ctx context.Context, _ sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	if m.flaw == "no logs" {
		return nil
	}
	sent := 0
	for {
		m.world.mu.Lock()
		lines, told := slices.Clone(m.world.printed), m.world.told
		m.world.mu.Unlock()
		if m.flaw == "logs backwards" {
			slices.Reverse(lines)
		}
		if err := m.pass(lines, sent, q, out); err != nil {
			return err
		}
		sent = len(lines)
		if !q.Follow || m.flaw == "follow ends" {
			return nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			if m.flaw == "follow is stubborn" {
				select {}
			}
			return ctx.Err()
		}
	}
}

// pass passes on the lines after the first sent that q asks for.
func (m *memory) pass(lines []sdk.LogLine, sent int, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	first := sent
	if q.Tail > 0 && sent == 0 && m.flaw != "no tail" {
		first = max(len(lines)-q.Tail, 0)
	}
	for _, l := range lines[first:] {
		pod, container, _ := strings.Cut(l.Source, "/")
		wanted := strings.HasPrefix(pod, q.Pod) && (q.Container == "" || q.Container == container) && !l.Time.Before(q.Since)
		if !wanted || !strings.Contains(l.Text, q.Contains) && m.flaw != "logs all" {
			continue
		}
		if err := out(l); err != nil {
			return err
		}
	}
	return nil
}
