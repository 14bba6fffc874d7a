package script

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// The contracts between the executor and a part's programs.
const (
	contractRun = "run" // the executor's own
	contractV1  = "v1"  // Octopod up to 1.3
	contractV2  = "v2"  // Octopod from 1.4
)

// The defaults of settings that a part may leave out.
const (
	// defaultTimeout is Octopod's CONTROL_SCRIPT_TIMEOUT.
	defaultTimeout = 30 * time.Minute
	// defaultAskTimeout bounds the programs that only ask something.
	defaultAskTimeout = time.Minute
	// defaultGrace is below the 20 s after which Berth kills an executor that does
	// not stop a step, and leaves time to end what ignores the signal.
	defaultGrace = 10 * time.Second
	maxGrace     = 15 * time.Second
	// defaultPending is Octopod's: a deployment without a good check for as long
	// has failed.
	defaultPending = 10 * time.Minute
	defaultPoll    = 5 * time.Second
	// defaultDataDir is beside what Berth itself keeps by default.
	defaultDataDir = "data/script"
	// defaultPrefix marks the keys of --set that are deployment overrides.
	defaultPrefix = "deployment."
)

// octopodScripts are Octopod's programs and the names that their files can have:
// the one that is shipped, then the documented one.
var octopodScripts = map[string][]string{
	"create": {"create"}, "update": {"update"}, "archive": {"archive"}, "unarchive": {"unarchive"}, "cleanup": {"cleanup"},
	"check": {"check"}, "archive_check": {"archive_check"}, "info": {"info"}, "config_check": {"config_check"}, "tag_check": {"tag_check"},
	"deployment_overrides": {"deployment_overrides", "deployment_config"},
	"deployment_keys":      {"deployment_keys", "deployment_config_keys"},
	"app_overrides":        {"app_overrides", "application_config"},
	"app_keys":             {"app_keys", "application_config_keys"},
	"notification":         {"notification", "notifications"},
	"init":                 {"init"},
}

// asking are the programs that are not to change anything.
var asking = []string{"check", "archive_check", "tag_check", "info", "config_check", "deployment_overrides", "deployment_keys", "app_overrides", "app_keys", "notification", "plan"}

// secretOr is a text, or the reference to one that nobody may see.
type secretOr struct {
	Text string
	Ref  *sdk.SecretRef
}

// config is an override or default of Octopod's: a key and its value.
type config struct {
	Key     string
	Value   secretOr
	Deleted bool // an override that takes the default away
}

// settings are a part's `with` and the executor's settings, with defaults.
type settings struct {
	Contract   string
	Dir        string
	Env        map[string]secretOr
	Vars       []string // variables that scripts get under their own names
	Kubeconfig bool
	Timeout    time.Duration
	Timeouts   map[string]time.Duration
	Grace      time.Duration
	Pending    time.Duration
	Poll       time.Duration

	Programs map[string][]secretOr // run: by verb, plan or check: program and arguments

	Commands    map[string]string // Octopod's: by script, the file in Dir
	Project     string
	BaseDomain  string
	Namespace   string
	Name        string
	Tag         string
	App         []config
	Deployment  []config
	PlanAsks    bool
	DataDir     string
	Path        string
	PlatformEnv map[string]secretOr
}

// limit is how long a program may take.
func (s *settings) limit(name string) time.Duration {
	if d, ok := s.Timeouts[name]; ok {
		return d
	}
	if slices.Contains(asking, name) {
		return min(defaultAskTimeout, s.Timeout)
	}
	return s.Timeout
}

// readSettings checks what the schema says and what it cannot say.
func readSettings(step sdk.Step) (*settings, error) {
	r := &reader{m: step.With}
	known := withSchema()["properties"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(step.With)) {
		if _, ok := known[key]; !ok {
			return nil, sdk.Invalid("A script part has no setting %q.", clip(key, 40))
		}
	}
	s := &settings{
		Contract: r.text("contract"), Dir: r.text("dir"), Env: r.env("env"), Kubeconfig: r.flag("kubeconfig"),
		Timeout: r.duration("timeout", defaultTimeout), Timeouts: map[string]time.Duration{},
		Grace: r.duration("grace", defaultGrace), Pending: r.duration("pending_timeout", defaultPending), Poll: r.duration("poll", defaultPoll),
		PlanAsks: r.flag("plan_asks"), Project: r.text("project"), BaseDomain: r.text("base_domain"),
		Namespace: r.text("namespace"), Name: r.text("name"), Tag: r.text("tag"),
	}
	if s.Grace > maxGrace {
		r.fail("`grace` can be at most %s: Berth waits no longer for a step that is stopped.", maxGrace)
	}
	for _, name := range slices.Sorted(maps.Keys(r.object("timeouts"))) {
		text, ok := r.object("timeouts")[name].(string)
		if _, octopod := octopodScripts[name]; !ok || !octopod && !slices.Contains(runPrograms, name) {
			r.fail("`timeouts` has %q; it takes programs of the part with times such as 10m.", clip(name, 40))
		}
		s.Timeouts[name] = r.durationOf("timeouts."+name, text, s.Timeout)
	}
	s.readVars(r)
	s.readPlatform(r, step.Settings)
	switch s.Contract {
	case contractRun:
		s.readRun(r)
	case contractV1, contractV2:
		s.readOctopod(r, step)
	default:
		r.fail("A script part needs `contract`: run, v1 or v2.")
	}
	return s, r.err
}

func (s *settings) readVars(r *reader) {
	list, ok := r.m["vars"].([]any)
	if r.m["vars"] != nil && !ok {
		r.fail("`vars` has to be a list of variables' names.")
	}
	for _, v := range list {
		name, ok := v.(string)
		if !ok || !envName.MatchString(name) || reserved(name) {
			r.fail("`vars` has to be a list of variables' names that scripts can have in their environment.")
		}
		s.Vars = append(s.Vars, name)
	}
}

// readPlatform reads the executor's own settings.
func (s *settings) readPlatform(r *reader, m map[string]any) {
	p := &reader{m: m}
	s.DataDir, s.Path, s.PlatformEnv = p.text("data_dir"), p.text("path"), p.env("env")
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains([]string{"data_dir", "path", "env"}, key) {
			p.fail("The script executor has no setting %q.", clip(key, 40))
		}
	}
	if s.DataDir == "" {
		s.DataDir = defaultDataDir
	}
	if abs, err := filepath.Abs(s.DataDir); err == nil {
		s.DataDir = abs
	}
	if p.err != nil && r.err == nil {
		r.err = p.err
	}
}

// runPrograms are the programs of the contract "run".
var runPrograms = []string{"deploy", "archive", "restore", "cleanup", "rollback", "restart", "sleep", "wake", "plan", "check"}

func (s *settings) readRun(r *reader) {
	s.Programs = map[string][]secretOr{}
	for _, name := range runPrograms {
		if r.m[name] == nil {
			continue
		}
		list, ok := r.m[name].([]any)
		if !ok || len(list) == 0 {
			r.fail("`%s` has to be a list: the program, then each of its arguments. No shell takes a line apart.", name)
			continue
		}
		for i, v := range list {
			s.Programs[name] = append(s.Programs[name], r.value(fmt.Sprintf("argument %d of `%s`", i, name), v))
		}
		if first := s.Programs[name][0]; first.Ref != nil || first.Text == "" {
			r.fail("`%s` has to begin with a program.", name)
		}
	}
	if s.Programs["deploy"] == nil || s.Programs["cleanup"] == nil {
		r.fail("A part of contract run needs `deploy` and `cleanup`: what is made has to be taken away again.")
	}
	for _, key := range []string{"commands", "project", "base_domain", "namespace", "name", "tag", "overrides", "plan_asks", "deployment_prefix"} {
		if r.m[key] != nil {
			r.fail("`%s` is for the contracts v1 and v2.", key)
		}
	}
	s.checkDir(r)
}

func (s *settings) checkDir(r *reader) {
	if s.Dir == "" {
		return
	}
	if strings.HasPrefix(s.Dir, "repo:") {
		r.fail("`dir` is a path in the repository that was not fetched; name a commit with --ref.")
		return
	}
	abs, err := filepath.Abs(s.Dir)
	if err == nil {
		s.Dir = abs
	}
	if info, err := os.Stat(s.Dir); err != nil || !info.IsDir() {
		r.fail("`dir` is %q, and there is no such folder.", clip(s.Dir, 200))
	}
}

func (s *settings) readOctopod(r *reader, step sdk.Step) {
	for _, name := range runPrograms {
		if r.m[name] != nil {
			r.fail("`%s` is for the contract run; files of the contracts v1 and v2 are named under `commands`.", name)
		}
	}
	if s.Dir == "" {
		r.fail("A part of contract %s needs `dir`, the folder with Octopod's control scripts.", s.Contract)
	}
	s.checkDir(r)
	s.Commands = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.object("commands"))) {
		file, ok := r.object("commands")[name].(string)
		if _, known := octopodScripts[name]; !known || !ok || file == "" {
			r.fail("`commands` has %q; it takes Octopod's scripts (create, update, …) with their files.", clip(name, 40))
		}
		s.Commands[name] = file
	}
	overrides := r.object("overrides")
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		if key != "app" && key != "deployment" {
			r.fail("`overrides` has %q; it takes app and deployment.", clip(key, 40))
		}
	}
	s.App, s.Deployment = r.configs(overrides, "app"), r.configs(overrides, "deployment")
	prefix := defaultPrefix
	if r.m["deployment_prefix"] != nil {
		prefix = r.text("deployment_prefix")
	}
	s.readSet(r, step.Set, prefix)
	for _, d := range []struct{ value, def *string }{{&s.Namespace, &step.Namespace}, {&s.Name, &step.Env}, {&s.Tag, &step.Commit}} {
		if *d.value == "" {
			*d.value = *d.def
		}
	}
	if s.Project == "" || s.BaseDomain == "" {
		r.fail("A part of contract %s needs `project` and `base_domain`, which its scripts are given.", s.Contract)
	}
	if s.Contract == contractV1 && s.Tag == "" {
		r.fail("A part of contract v1 needs `tag`, since no commit is known.")
	}
	for _, v := range []struct{ what, text string }{{"project", s.Project}, {"base_domain", s.BaseDomain}, {"namespace", s.Namespace}, {"name", s.Name}, {"tag", s.Tag}} {
		if strings.ContainsRune(v.text, 0) {
			r.fail("`%s` holds a NUL character, which no program can be given.", v.what)
		}
	}
}

// readSet lays what the requester set over the overrides.
func (s *settings) readSet(r *reader, set map[string]string, prefix string) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if s.Contract == contractV1 && name == "tag" {
			s.Tag = set[name]
			continue
		}
		key, list := name, &s.App
		if rest, ok := strings.CutPrefix(name, prefix); ok && prefix != "" {
			key, list = rest, &s.Deployment
		}
		k, err := cleanKey(key)
		if err != nil {
			r.fail("%q cannot be set: %s.", clip(name, 60), err)
			continue
		}
		if strings.ContainsRune(set[name], 0) {
			r.fail("The value of %q holds a NUL character, which no program can be given.", clip(name, 60))
		}
		*list = slices.DeleteFunc(*list, func(c config) bool { return c.Key == k })
		*list = append(*list, config{Key: k, Value: secretOr{Text: set[name]}})
	}
}
