package script

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// job is one call for one part: what was asked for, and what its scripts need.
type job struct {
	x     *Executor
	step  sdk.Step
	set   *settings
	out   sdk.Events
	place place
	mask  mask
	env   []string
	work  string // the working directory
	home  string // HOME of the scripts
	mark  string // tells this run's processes from others
	held  *os.File
	rec   record
}

// open reads what the step says and looks its secrets up. Nothing has been run
// or written then.
func (x *Executor) open(ctx context.Context, step sdk.Step, out sdk.Events) (*job, error) {
	set, err := readSettings(step)
	if err != nil {
		return nil, err
	}
	j := &job{x: x, step: step, set: set, out: out, place: placeOf(set.DataDir, step)}
	if j.env, err = j.environment(ctx); err != nil {
		return nil, err
	}
	return j, nil
}

// lock takes the part's lock and makes the working directory.
func (j *job) lock(ctx context.Context) (err error) {
	j.held, err = j.place.lock(ctx, func() {
		j.out.Progress("waiting for an earlier script of this part to end", 0, 0)
	})
	if err != nil {
		return err
	}
	return j.enter(true)
}

// enter makes the working directory.
func (j *job) enter(alone bool) (err error) {
	sum := sha256.Sum256([]byte(j.place.base))
	name := hex.EncodeToString(sum[:6])
	if !alone {
		name = "ask-" + name
	}
	if j.work, err = j.place.workDir(name, alone); err != nil {
		return err
	}
	j.home, j.mark = j.work, filepath.Base(j.work)
	return nil
}

func (j *job) close() {
	if j.held != nil {
		defer j.held.Close() // last: what is left of the working directory belongs to the lock
	}
	removeAll(j.work)
}

func (j *job) load() (err error) {
	j.rec, err = j.place.load()
	return err
}

// phase remembers how far the part has come, and that the step that was finished
// last is not the last word any more.
func (j *job) phase(p phase) error {
	j.rec.Phase, j.rec.Finished, j.rec.At = p, "", time.Now().UTC()
	return j.place.save(j.rec)
}

// finished remembers that the step is done.
func (j *job) finished(p phase) error {
	j.rec.Phase, j.rec.Finished, j.rec.At = p, j.step.ID, time.Now().UTC()
	return j.place.save(j.rec)
}

// tolerant tells whether a step goes on without a secret that is not there:
// what takes things away is not kept from it.
func (j *job) tolerant() bool {
	return j.step.Verb == sdk.Cleanup || j.step.Verb == sdk.Archive || j.step.Verb == sdk.Sleep
}

// resolve looks a secret up, and has it hidden from now on. A value that a
// tolerant step has to do without is "".
func (j *job) resolve(ctx context.Context, v secretOr) (string, error) {
	if v.Ref == nil {
		return v.Text, nil
	}
	value, err := sdk.Secrets{Getenv: j.x.getenv}.Value(ctx, j.step, *v.Ref)
	if err != nil {
		if e, ok := errors.AsType[*sdk.Error](err); ok && e.Fault == sdk.FaultInvalid && j.tolerant() {
			if j.out != nil {
				j.out.Log("going on without a secret: " + e.Msg)
			}
			return "", nil
		}
		return "", err
	}
	j.mask.add(value)
	return value, nil
}

// environment is all that scripts see beside BERTH_ variables about the run
// itself. Of the executor's own environment it has PATH alone.
func (j *job) environment(ctx context.Context) ([]string, error) {
	env := map[string]string{"LANG": "C.UTF-8", "PATH": j.set.Path}
	if j.set.Path == "" {
		if env["PATH"] = j.x.getenv("PATH"); env["PATH"] == "" {
			env["PATH"] = "/usr/local/bin:/usr/bin:/bin"
		}
	}
	add := func(values map[string]secretOr) error {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value, err := j.resolve(ctx, values[name])
			if err != nil {
				return err
			}
			env[name] = value
		}
		return nil
	}
	if err := add(j.set.PlatformEnv); err != nil {
		return nil, err
	}
	vars := map[string]secretOr{}
	for name, value := range j.step.Vars {
		vars[name] = secretOr{Text: value}
	}
	for name := range j.step.Secrets {
		ref := j.step.Secrets[name]
		vars[name] = secretOr{Ref: &ref}
	}
	// People set variables while Berth runs. Under their own names they reach a
	// script only when the config lists them: PATH, LD_PRELOAD and their like would
	// decide what runs.
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if slices.Contains(j.set.Vars, name) {
			if err := add(map[string]secretOr{name: vars[name]}); err != nil {
				return nil, err
			}
		}
	}
	prefixed := map[string]secretOr{}
	for name, value := range vars {
		prefixed["BERTH_VAR_"+name] = value
	}
	if err := errors.Join(add(prefixed), add(j.set.Env)); err != nil {
		return nil, firstOf(err)
	}
	if j.set.Kubeconfig && j.step.Cluster.EKS != nil {
		return nil, sdk.Invalid("`kubeconfig: true` needs a cluster with a kubeconfig, and this one is reached as an EKS cluster. Have the script make its own (aws eks update-kubeconfig), or give Berth's cluster a kubeconfig.")
	}
	j.about(env)
	return flatten(env)
}

// firstOf is the first error that is meant for people.
func firstOf(err error) error {
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return e
	}
	return err
}

// about adds what the step is.
func (j *job) about(env map[string]string) {
	s := j.step
	for name, value := range map[string]string{
		"APP": s.App, "ENVIRONMENT": s.Env, "PART": s.Part, "VERB": string(s.Verb), "STEP_ID": s.ID, "COMMIT": s.Commit,
		"NAMESPACE": s.Namespace, "INSTALLATION": s.Installation, "CLUSTER": s.Cluster.Name, "EARLIER": s.Earlier,
		"CONTRACT": j.set.Contract, "SCRIPTS": j.set.Dir,
	} {
		env["BERTH_"+name] = value
	}
	env["BERTH_AS_WAS"] = ""
	if s.AsWas {
		env["BERTH_AS_WAS"] = "1"
	}
	if !j.set.Kubeconfig {
		return
	}
	env["BERTH_KUBE_CONTEXT"] = s.Cluster.Context
	if s.Cluster.Kubeconfig != "" {
		if abs, err := filepath.Abs(s.Cluster.Kubeconfig); err == nil {
			env["KUBECONFIG"] = abs
		}
		return
	}
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} { // the in-cluster account
		if v := j.x.getenv(name); v != "" {
			env[name] = v
		}
	}
}

// maxArgument is the longest argument or variable that Linux takes, with the
// zero byte behind it. Source: execve(2), MAX_ARG_STRLEN, 32 pages of 4 KiB.
const maxArgument = 128 << 10

func flatten(env map[string]string) ([]string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		entry := name + "=" + env[name]
		if len(entry) >= maxArgument {
			return nil, sdk.Invalid("The variable %s is %d KiB long, and no program can be given one of more than 128 KiB (MAX_ARG_STRLEN). Have the script read it from a file.", clip(name, 60), len(entry)>>10)
		}
		out = append(out, entry)
	}
	return out, nil
}

func (j *job) checkArgument(script, arg string) error {
	switch {
	case strings.ContainsRune(arg, 0):
		return sdk.Invalid("An argument of %s holds a NUL character, which no program can be given.", script)
	case len(arg) >= maxArgument:
		return sdk.Invalid("An argument of %s is %d KiB long (%s), and no program can be given one of more than 128 KiB (MAX_ARG_STRLEN).", script, len(arg)>>10, clip(j.mask.text(arg, 0), 40))
	}
	return nil
}

// runMark is what the environment of an order's processes holds.
func runMark(o order) string {
	for _, entry := range o.Env {
		if strings.HasPrefix(entry, "BERTH_RUN=") {
			return entry
		}
	}
	return "BERTH_RUN=none"
}

// result is how a script ended, and what it said.
type result struct {
	code   int
	stdout string // when it answers by it
	last   string // its last line, without secrets
}

// ask says how a script is run.
type ask struct {
	name    string // "create", for messages and time limits
	path    string
	args    []string
	env     []string // beside the job's
	answers bool     // its standard output is an answer, not a log
	quiet   bool     // nothing of it is told
}

// do runs a script. A status other than 0 is no error: what it means depends on
// the script.
func (j *job) do(ctx context.Context, a ask) (result, error) {
	for _, arg := range a.args {
		if err := j.checkArgument(a.name, arg); err != nil {
			return result{}, err
		}
	}
	o := order{
		Path: a.path, Args: a.args, Dir: j.work, Grace: j.set.Grace, Limit: j.set.limit(a.name), Remove: j.work,
		Env: append(slices.Concat(j.env, a.env), "HOME="+j.home, "TMPDIR="+filepath.Join(j.work, "tmp"), "PWD="+j.work, "BERTH_RUN="+j.mark),
	}
	say := func(string) {}
	if !a.quiet && j.out != nil {
		say = j.out.Log
	}
	t := &teller{say: say, prefix: a.name + ": ", mask: &j.mask}
	var said answer
	p := pipes{stdout: t.read, stderr: t.read, lock: j.held}
	if a.answers {
		p.stdout = said.read
	}
	end, err := j.x.start(ctx, o, p)
	last := t.end()
	if end.Left > 0 {
		say(fmt.Sprintf("%s: it ended %s that it had left running", a.name, plural(int64(end.Left), "process")))
	}
	r := result{code: end.Code, stdout: said.text.String(), last: last}
	switch {
	case end.Stuck > 0:
		return r, sdk.Downstream("%s was stopped, but %s of it cannot be ended: look for what waits for a device or a file server on Berth's machine.", a.name, plural(int64(end.Stuck), "process")).WithRetryAfter(time.Minute)
	case errors.Is(err, errLimit):
		return r, sdk.Downstream("%s took longer than %s and was stopped, with all that it had started. %s Raise `timeouts.%s` if it needs longer.", a.name, o.Limit, lastSaid(r.last), a.name)
	case err != nil:
		return r, err
	case end.Failed != "":
		return r, notStarted(a, end)
	case end.Signal != "":
		return r, sdk.Downstream("%s was ended by a signal (%s).%s", a.name, end.Signal, behind(lastSaid(r.last))).WithRetry()
	case a.answers && said.more:
		return r, sdk.Downstream("%s printed more than %d MiB, which is no answer that can be taken.", a.name, maxAnswer>>20)
	}
	return r, nil
}

func behind(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

func lastSaid(line string) string {
	if line = clip(line, 300); line != "" {
		return "Its last line: " + strings.TrimRight(line, ".") + "."
	}
	return ""
}

// notStarted explains why a program does not run.
func notStarted(a ask, end ending) error {
	file := clip(a.path, 200)
	switch end.Errno {
	case syscall.ENOENT:
		return sdk.Invalid("%s cannot be started: %s is not there, or the interpreter in its first line is not.", a.name, file)
	case syscall.EACCES:
		return sdk.Invalid("%s cannot be started: %s is not executable. Run chmod +x on it, and commit that.", a.name, file)
	case syscall.ENOEXEC:
		return sdk.Invalid("%s cannot be started: %s is neither a program for this machine nor does it begin with a line such as #!/bin/sh.", a.name, file)
	case syscall.E2BIG:
		return sdk.Invalid("%s cannot be started: its arguments and variables together are longer than this machine takes (ARG_MAX). Have it read them from a file.", a.name)
	case syscall.ENOMEM, syscall.EAGAIN, syscall.ETXTBSY, syscall.EMFILE, syscall.ENFILE:
		return sdk.Downstream("%s cannot be started now: %s.", a.name, end.Failed).WithRetry()
	}
	return sdk.Downstream("%s cannot be started: %s.", a.name, clip(end.Failed, 200))
}

// stepFile writes the step for programs to read, without secrets.
func (j *job) stepFile() (string, error) {
	s := j.step
	data, err := json.MarshalIndent(map[string]any{
		"id": s.ID, "app": s.App, "environment": s.Env, "part": s.Part, "verb": s.Verb, "vars": orEmpty(s.Vars), "set": orEmpty(s.Set), "commit": s.Commit,
		"namespace": s.Namespace, "installation": s.Installation, "earlier": s.Earlier, "as_was": s.AsWas, "outputs": orEmpty(s.Outputs),
		"cluster": map[string]string{"name": s.Cluster.Name, "context": s.Cluster.Context}, "secrets": append([]string{}, slices.Sorted(maps.Keys(s.Secrets))...),
	}, "", "  ")
	path := filepath.Join(j.work, "step.json")
	if err == nil {
		err = os.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return "", unusable(j.place.data, err)
	}
	return path, nil
}

// orEmpty is m for JSON: an object, also when there is nothing in it.
func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
