package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxSize is the largest config file that is read, in bytes. A config is
// written by people; what is larger is some other file.
const maxSize = 4 << 20

// Fault is one thing that is wrong with a config.
type Fault struct {
	Path string // "apps.shop.parts[1].use"; "" for the whole file
	Line int    // 0 when it has none
	Msg  string // what is wrong and what to write instead
}

func (f Fault) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	return b.String() + f.Msg
}

// Faults are all that is wrong with a config, in the order of the file.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Check finds what only the packages that use a config can see in it. It is
// called for configs that have faults already, too; its faults need no lines.
type Check func(c *Config) Faults

// Load reads and validates the file. What is wrong with it comes as Faults, all
// at once; an error that is none says why the file cannot be read.
func Load(path string, more ...Check) (*Config, error) {
	file, err := os.Open(path) //nolint:gosec // the operator says which file it is
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no config file %s: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("the config cannot be read: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("the config cannot be read: %w", err)
	}
	return Parse(raw, more...)
}

// Parse reads and validates a config. What is wrong with it comes as Faults, all
// at once.
func Parse(raw []byte, more ...Check) (*Config, error) {
	c := &Config{}
	doc, err := read(raw, c, notYet)
	if err != nil {
		return nil, err
	}
	c.setDefaults(doc.written)
	doc.validate(c)
	for _, check := range more {
		for _, f := range check(c) {
			doc.fault(f.Path, "%s", f.Msg)
		}
	}
	if err := doc.sorted(); err != nil {
		return nil, err
	}
	return c, nil
}

// Read reads another file that people write, as strictly as a config: into
// points to a struct whose fields have yaml tags. check, which may be nil, finds
// what the types alone do not say; its faults need no lines. What is wrong comes
// as Faults, all at once.
func Read(raw []byte, into any, check func() Faults) error {
	doc, err := read(raw, into, nil)
	if err != nil {
		return err
	}
	if check != nil {
		for _, f := range check() {
			doc.fault(f.Path, "%s", f.Msg)
		}
	}
	return doc.sorted()
}

// read fills into, and notes what is wrong and where everything stands. Its
// error means that there is nothing to look at further.
func read(raw []byte, into any, later map[string]string) (*document, error) {
	if len(raw) > maxSize {
		return nil, Faults{{Msg: fmt.Sprintf("the file is larger than %d MiB", maxSize>>20)}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, Faults{syntaxFault(err)}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Faults{{Msg: "the file holds several YAML documents; keep one"}}
	}
	doc := &document{lines: map[string]int{}, leaves: map[int][]string{}, broken: map[int]bool{}, later: later}
	if len(root.Content) == 1 {
		doc.walk(root.Content[0], reflect.TypeOf(into), "")
		doc.decode(root.Content[0], into)
	}
	return doc, nil
}

// sorted are the faults in the order of the file, nil when there is none.
func (d *document) sorted() error {
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b Fault) int { return a.Line - b.Line })
	return d.faults
}

// setDefaults fills in what is not written. written tells whether a path is in
// the file, for values whose zero means something.
func (c *Config) setDefaults(written func(path string) bool) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.Server.Listen, DefaultListen)
	set(&c.Server.DataDir, DefaultDataDir)
	if c.GitHub != nil {
		set(&c.GitHub.APIURL, DefaultAPIURL)
		set(&c.GitHub.Permission, "write")
	}
	if c.Slack != nil {
		set(&c.Slack.APIURL, DefaultSlackURL)
	}
	if c.Discord != nil {
		set(&c.Discord.APIURL, DefaultDiscordURL)
	}
	c.Reconcile.setDefaults(c.GitHub != nil, written)
}

// written tells whether path is in the file.
func (d *document) written(path string) bool {
	_, ok := d.lines[path]
	return ok
}

// document collects faults while a file is read, and knows which line each
// path stands on.
type document struct {
	faults Faults
	lines  map[string]int    // path → line
	leaves map[int][]string  // line → the paths of the values on it
	broken map[int]bool      // lines with a value of the wrong type
	nodes  int               // walked so far
	later  map[string]string // keys that a later version will know, and what to say of them
}

// maxNodes bounds the walk: aliases can make a small file very large.
const maxNodes = 100_000

func (d *document) fault(path, format string, args ...any) {
	line, at := 0, path
	for line == 0 && at != "" { // a key that is absent stands where its parent does
		line = d.lines[at]
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	d.faults = append(d.faults, Fault{Path: path, Line: line, Msg: fmt.Sprintf(format, args...)})
}

// walk notes every path's line, and the keys that type t does not have.
func (d *document) walk(n *yaml.Node, t reflect.Type, path string) {
	if d.nodes++; d.nodes > maxNodes {
		return
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	d.lines[path] = n.Line
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range n.Content {
			d.walk(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Map && t.Elem().Kind() != reflect.Interface:
		for i := 0; i+1 < len(n.Content); i += 2 {
			at := join(path, n.Content[i].Value)
			d.walk(n.Content[i+1], t.Elem(), at)
			d.lines[at] = n.Content[i].Line
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct && !leaf[t]:
		d.walkStruct(n, t, path)
	default:
		d.leaves[n.Line] = append(d.leaves[n.Line], path)
	}
}

// leaf are the types that read a mapping themselves.
var leaf = map[reflect.Type]bool{
	reflect.TypeFor[Secret](): true, reflect.TypeFor[Time](): true, reflect.TypeFor[Value](): true,
	reflect.TypeFor[SecretRef](): true, reflect.TypeFor[Address](): true,
}

func (d *document) walkStruct(n *yaml.Node, t reflect.Type, path string) {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		fields[strings.Split(f.Tag.Get("yaml"), ",")[0]] = f.Type
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at := join(path, key.Value)
		d.lines[at] = key.Line
		if field, known := fields[key.Value]; known {
			d.walk(n.Content[i+1], field, at)
			d.lines[at] = key.Line
		} else if why, later := d.later[at]; later {
			d.fault(at, "%s", why)
		} else {
			d.fault(at, "there is no such key%s", nearestHint(key.Value, fields))
		}
	}
}

// notYet explains keys of Berth's config language that this version cannot
// honour. Ignoring them would be a lie: a surface that never answers is worse
// than none.
var notYet = map[string]string{
	"mattermost": "this version has no Mattermost surface; remove the section",
}

// lineError is how the YAML library reports a value of the wrong type.
var lineError = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)

// decode fills into and turns each of the library's complaints into a fault.
func (d *document) decode(n *yaml.Node, into any) {
	err := n.Decode(into)
	if err == nil {
		return
	}
	typeErr, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		d.faults = append(d.faults, syntaxFault(err))
		return
	}
	for _, complaint := range typeErr.Errors {
		fault := Fault{Msg: complaint}
		if m := lineError.FindStringSubmatch(complaint); m != nil {
			fault.Line, _ = strconv.Atoi(m[1])
			fault.Path, fault.Msg = d.pathOn(fault.Line), plainTypeError(m[2])
			d.broken[fault.Line] = true
		}
		d.faults = append(d.faults, fault)
	}
}

// pathOn is the path of the value on a line, or what the paths of several have
// in common: the library names lines only.
func (d *document) pathOn(line int) string {
	leaves := d.leaves[line]
	if len(leaves) == 0 {
		return ""
	}
	path := leaves[0]
	for _, other := range leaves[1:] {
		for path != "" && other != path && !strings.HasPrefix(other, path+".") && !strings.HasPrefix(other, path+"[") {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
	return path
}

var cannotUnmarshal = regexp.MustCompile("^cannot unmarshal !!(\\w+) (?:`(.*)` )?into (.*)$")

// plainTypeError says "cannot unmarshal !!str `x` into bool" in plain words.
func plainTypeError(msg string) string {
	m := cannotUnmarshal.FindStringSubmatch(msg)
	if m == nil {
		return msg
	}
	want := map[string]string{"bool": "true or false", "int": "a whole number", "int64": "a whole number", "string": "text"}[m[3]]
	if want == "" {
		want = "a mapping"
		if strings.HasPrefix(m[3], "[]") {
			want = "a list"
		}
	}
	found := map[string]string{"map": "a mapping", "seq": "a list", "str": "text", "int": "a number", "float": "a number", "bool": "true or false"}[m[1]]
	return fmt.Sprintf("this should be %s, not %s", want, found)
}

func syntaxFault(err error) Fault {
	if m := lineError.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return Fault{Line: line, Msg: "this is not YAML: " + m[2]}
	}
	fault := Fault{Msg: "this is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	// The library leaves the line out where it is the first, and where the bytes
	// are no text at all, so that there are no lines.
	if !strings.Contains(fault.Msg, "UTF-") && !strings.Contains(fault.Msg, "control characters") {
		fault.Line = 1
	}
	return fault
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// nearestHint suggests the known key that a mistyped one most likely means.
func nearestHint(key string, fields map[string]reflect.Type) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.EqualFold(strings.ReplaceAll(name, "_", ""), strings.NewReplacer("_", "", "-", "").Replace(key)) || oneEdit(name, key) {
			return fmt.Sprintf("; did you mean %q?", name)
		}
	}
	return "; known here: " + strings.Join(names, ", ")
}

// oneEdit tells whether a and b differ by one letter: added, left out, changed
// or swapped with its neighbour.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	swapped := i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	return i < len(a) && (a[i+1:] == b[i+1:] || swapped)
}

// UnmarshalYAML reads a Duration.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	value, err := parseDuration(n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{lined(n, "%q is no length of time; write 72h, 90m or 3d", n.Value)}}
	}
	*d = Duration(value)
	return nil
}

// lined is a complaint as the library's own are, with its line.
func lined(n *yaml.Node, format string, args ...any) string {
	return fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)
}

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 16) // 89 years; more would not fit
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(s)
}
