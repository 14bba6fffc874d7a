package script

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Exit statuses of the contract "run" that mean more than a failure. Source:
// sysexits.h.
const (
	exitInvalid = 65 // EX_DATAERR: what was asked for is wrong
	exitRetry   = 75 // EX_TEMPFAIL: try again later
)

// Exit statuses of a check. Source: Octopod's control scripts.
const (
	checkUp      = 0
	checkPartly  = 2
	checkTag     = 3
	checkGeneral = 1
	// checkAbsent is of the contract "run" alone: nothing is there.
	checkAbsent = 4
)

// Bounds of what a program can write into its files.
const (
	maxFile    = 1 << 20
	maxOutputs = 64
	maxOutput  = 8 << 10 // bytes of a value
	maxLinks   = 50
)

// doing is how a verb is remembered before its program begins and after.
var doing = map[sdk.Verb][2]phase{
	sdk.Deploy: {phaseCreating, phaseCreated}, sdk.Rollback: {phaseCreating, phaseCreated}, sdk.Restore: {phaseRestoring, phaseCreated},
	sdk.Archive: {phaseArchiving, phaseArchived}, sdk.Cleanup: {phaseCleaning, phaseCleaned},
}

// runGeneric does a step of the contract "run".
func (j *job) runGeneric(ctx context.Context) error {
	verb := j.step.Verb
	if j.rec.Finished == j.step.ID && j.step.ID != "" {
		j.out.Log("an earlier try of this step has done it already")
		j.tell()
		return nil
	}
	name := string(verb)
	if j.set.Programs[name] == nil {
		if verb != sdk.Rollback && verb != sdk.Restore {
			j.out.Log("the part has no program for " + name + " and is left as it is")
			return nil
		}
		name = string(sdk.Deploy)
	}
	p, changes := doing[verb]
	if changes && (p[0] != phaseCreating || j.rec.Phase != phaseCreated) {
		if err := j.phase(p[0]); err != nil {
			return err
		}
	}
	j.out.Progress(name+" runs", 0, 0)
	r, files, err := j.runProgram(ctx, name)
	if err != nil {
		return err
	}
	if err := judge(name, r); err != nil {
		return err
	}
	if err := j.took(files); err != nil {
		return err
	}
	after := j.rec.Phase
	if changes {
		after = p[1]
	}
	if verb != sdk.Archive && verb != sdk.Cleanup && verb != sdk.Sleep && j.set.Programs["check"] != nil {
		if err := j.phase(after); err != nil {
			return err
		}
		if err := j.poll(ctx, "check", j.checkGeneric); err != nil {
			return err
		}
	}
	if verb == sdk.Cleanup {
		j.gone("Environment")
	}
	j.tell()
	return j.finished(after)
}

// files are where a program writes what it has to say.
type files struct{ outputs, links, plan string }

// runProgram runs one program of the part.
func (j *job) runProgram(ctx context.Context, name string) (result, files, error) {
	f := files{filepath.Join(j.work, "outputs"), filepath.Join(j.work, "links"), filepath.Join(j.work, "plan.json")}
	step, err := j.stepFile()
	if err != nil {
		return result{}, f, err
	}
	for _, path := range []string{f.outputs, f.links, f.plan} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return result{}, f, unusable(j.place.data, err)
		}
	}
	list := j.set.Programs[name]
	path, err := j.program(name, list[0].Text)
	if err != nil {
		return result{}, f, err
	}
	args := make([]string, 0, len(list))
	for _, v := range list[1:] {
		arg, err := j.resolve(ctx, v)
		if err != nil {
			return result{}, f, err
		}
		args = append(args, arg)
	}
	created := ""
	if j.rec.Phase != phaseNone && j.rec.Phase != phaseCreating && j.rec.Phase != phaseCleaned {
		created = "1"
	}
	r, err := j.do(ctx, ask{
		name: name, path: path, args: args, answers: name == "plan", quiet: name == "check",
		env: []string{"BERTH_STEP=" + step, "BERTH_OUTPUTS=" + f.outputs, "BERTH_LINKS=" + f.links, "BERTH_PLAN=" + f.plan, "BERTH_CREATED=" + created},
	})
	return r, f, err
}

// judge is what an exit status of the contract "run" means.
func judge(name string, r result) error {
	switch r.code {
	case 0:
		return nil
	case exitInvalid:
		return sdk.Invalid("%s refuses what was asked for.%s", name, behind(lastSaid(r.last)))
	case exitRetry:
		return sdk.Downstream("%s could not do it now (exit status %d).%s", name, r.code, behind(lastSaid(r.last))).WithRetry()
	}
	return sdk.Downstream("%s failed with exit status %d.%s", name, r.code, behind(lastSaid(r.last)))
}

// readFile is what a program wrote, which must not be a link to something else.
func readFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		return nil, fmt.Errorf("it is no plain file of at most %d MiB", maxFile>>20)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // A file of the run's own folder, whose script has ended.
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// took reads the outputs and links that a program wrote. Links that cannot be
// read leave the old ones.
func (j *job) took(f files) error {
	data, err := readFile(f.outputs)
	if err != nil {
		return sdk.Downstream("What the program wrote to BERTH_OUTPUTS cannot be read: %s.", clip(err.Error(), 200))
	}
	outputs, err := parseOutputs(string(data))
	if err != nil {
		return sdk.Downstream("What the program wrote to BERTH_OUTPUTS cannot be used: %s.", j.mask.text(err.Error(), 0))
	}
	if len(outputs) > 0 {
		j.rec.Outputs = outputs
		for name, value := range outputs {
			j.rec.Outputs[name] = j.mask.text(value, 0)
		}
	}
	data, err = readFile(f.links)
	if err == nil && len(bytes.TrimSpace(data)) > 0 {
		err = j.takeLinks(string(data))
	}
	if err != nil {
		j.out.Log("links: what the program wrote to BERTH_LINKS cannot be used, and the old links stay: " + clip(j.mask.text(err.Error(), 0), 200))
	}
	return nil
}

var outputName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,62}$`)

// parseOutputs reads lines NAME=VALUE; empty ones, and those that begin with "#",
// are passed over.
func parseOutputs(text string) (map[string]string, error) {
	out := map[string]string{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || !outputName.MatchString(name):
			return nil, fmt.Errorf("line %d is not NAME=VALUE", n)
		case len(value) > maxOutput || !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return nil, fmt.Errorf("the value in line %d is no text of at most %d KiB", n, maxOutput>>10)
		}
		if out[name] = value; len(out) > maxOutputs {
			return nil, fmt.Errorf("there are more than %d", maxOutputs)
		}
	}
	return out, nil
}

// takeLinks replaces the links by what CSV says.
func (j *job) takeLinks(csv string) error {
	pairs, err := parsePairs(csv)
	if err != nil {
		return err
	}
	var links []sdk.Link
	for _, p := range pairs {
		address := j.mask.text(strings.TrimSpace(p.Value), 0)
		if !isAddress(address) {
			if j.out != nil {
				j.out.Log("links: left out, since it is no address such as https://…: " + clip(j.mask.text(p.Name+", "+p.Value, 0), 200))
			}
			continue
		}
		if links = append(links, sdk.Link{Name: clip(j.mask.text(printable(p.Name), 0), 100), URL: address}); len(links) == maxLinks {
			break
		}
	}
	j.rec.Links = links
	return nil
}

// isAddress tells whether people can open it without running what it says.
func isAddress(s string) bool {
	if len(s) > 2000 || !strings.Contains(s, "://") {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && !slices.Contains([]string{"javascript", "data", "vbscript"}, strings.ToLower(u.Scheme))
}

// tell passes on the outputs and links that are remembered, so that a try that
// finds all done says the same as the one that did it.
func (j *job) tell() {
	for _, name := range slices.Sorted(maps.Keys(j.rec.Outputs)) {
		j.out.Output(name, j.rec.Outputs[name])
	}
	if _, known := j.rec.Outputs["url"]; !known && len(j.rec.Links) > 0 && j.step.Verb != sdk.Cleanup && j.step.Verb != sdk.Archive {
		j.out.Output("url", j.rec.Links[0].URL)
	}
}

func (j *job) gone(kind string) {
	j.out.Receipt(sdk.Resource{Kind: kind, Name: j.title(), Namespace: j.set.Namespace, Change: sdk.ChangeDelete, Destructive: true})
	j.rec = record{}
}

// title names what the part makes.
func (j *job) title() string {
	if j.set.Name != "" {
		return j.set.Name
	}
	return j.step.App + "/" + j.step.Env + "/" + j.step.Part
}

// checkGeneric runs the program `check` and is its exit status.
func (j *job) checkGeneric(ctx context.Context) (int, string, error) {
	r, f, err := j.runProgram(ctx, "check")
	if err == nil && r.code == 0 {
		if data, errLinks := readFile(f.links); errLinks == nil && len(bytes.TrimSpace(data)) > 0 {
			_ = j.takeLinks(string(data)) // the old ones stay
		}
	}
	return r.code, r.last, err
}

// poll asks until a check is good, for as long as it may be pending.
func (j *job) poll(ctx context.Context, name string, check func(context.Context) (int, string, error)) error {
	deadline := time.Now().Add(j.set.Pending)
	for n := 1; ; n++ {
		code, last, err := check(ctx)
		if err != nil {
			if ctx.Err() != nil || isInvalid(err) {
				return err
			}
			last = err.Error() // one check that fails is not the end
			code = checkGeneral
		}
		if code == checkUp {
			return nil
		}
		said := fmt.Sprintf("%s: %s", name, checkMeaning(code))
		if last = clip(last, 200); last != "" {
			said += " (" + last + ")"
		}
		j.out.Progress(said, 0, 0)
		left := time.Until(deadline)
		if left <= 0 {
			return sdk.Downstream("%s was not good within %s: %s.%s Raise `pending_timeout` if it needs longer.", name, j.set.Pending, checkMeaning(code), behind(lastSaid(last))).WithRetry()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(j.set.Poll, left)):
		}
	}
}

func isInvalid(err error) bool {
	e, ok := errors.AsType[*sdk.Error](err)
	return ok && e.Fault == sdk.FaultInvalid
}

func checkMeaning(code int) string {
	switch code {
	case checkUp:
		return "it is up"
	case checkPartly:
		return "it is partly available"
	case checkTag:
		return "what runs has another tag"
	}
	return fmt.Sprintf("it is not up (exit status %d)", code)
}

// genericPlan is what the program `plan` may write to BERTH_PLAN.
type genericPlan struct {
	Summary     string            `json:"summary"`
	Diff        string            `json:"diff"`
	Destructive bool              `json:"destructive"`
	Cost        string            `json:"cost"`
	Inputs      map[string]string `json:"inputs"`
	Resources   []struct {
		Kind        string `json:"kind"`
		Name        string `json:"name"`
		Namespace   string `json:"namespace"`
		Change      string `json:"change"`
		Destructive bool   `json:"destructive"`
	} `json:"resources"`
}

func parsePlan(data []byte) (genericPlan, error) {
	var p genericPlan
	if len(bytes.TrimSpace(data)) == 0 {
		return p, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return genericPlan{}, err
	}
	for _, r := range p.Resources {
		if r.Kind == "" || r.Name == "" || !slices.Contains([]string{"create", "update", "delete"}, r.Change) {
			return genericPlan{}, errors.New("a resource needs kind, name and change (create, update or delete)")
		}
	}
	return p, nil
}
