package actions

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// repoPrefix begins a string of a part's `with` that is a path in the app's
// repository. Only the configuration can say it: it is looked for before the
// string's template is filled in.
const repoPrefix = "repo:"

// defaultNamespace is used by apps that name none.
const defaultNamespace = "{{ .App }}-{{ .Name }}"

// renderer fills in the templates of one part. Templates come from the
// configuration alone; all that comes from outside is data to them.
type renderer struct {
	facts   Facts
	pending map[string]bool // parts among facts.Outputs whose outputs are not known yet
	// path turns a path in the repository into a local one. nil leaves such
	// strings as they are written.
	path func(path string) (string, error)
	// used is set when a template refers to an output that is not known yet.
	used bool
}

// knownAfter stands for an output that is not known yet.
func knownAfter(part string) string { return "(known after " + part + ")" }

// with is the part's With with all templates filled in. The copy shares nothing
// that can be changed with the original.
func (r *renderer) with(p Part) (map[string]any, error) {
	out, err := r.value("with", p.With)
	if err != nil {
		return nil, err
	}
	return out.(map[string]any), nil
}

// value fills in the strings of v; other leaves keep their type.
func (r *renderer) value(at string, v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			filled, err := r.value(at+"."+key, v[key])
			if err != nil {
				return nil, err
			}
			out[key] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			filled, err := r.value(at+"["+strconv.Itoa(i)+"]", v[i])
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return r.value(at, list)
	case map[string]string:
		group := make(map[string]any, len(v))
		for key := range v {
			group[key] = v[key]
		}
		return r.value(at, group)
	case string:
		return r.leaf(at, v)
	default:
		return v, nil
	}
}

// leaf fills in one string.
func (r *renderer) leaf(at, text string) (string, error) {
	path, isPath := strings.CutPrefix(text, repoPrefix)
	if !isPath {
		return r.text(at, text)
	}
	path, err := r.text(at, path)
	if err != nil {
		return "", err
	}
	if r.path == nil {
		return repoPrefix + path, nil
	}
	return r.path(path)
}

func (r *renderer) text(at, text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	out, err := r.fill(text)
	if err != nil {
		return "", Wrap("template.render", CodeInvalid, err, fmt.Sprintf("Its %s cannot be filled in: %s.", at, templateFault(err)))
	}
	return out, nil
}

// fill runs a template over the facts.
func (r *renderer) fill(text string) (string, error) {
	t, err := parseTemplate(text, r.pending)
	if err != nil {
		return "", err
	}
	facts := r.facts
	words := wordsOf(t.Root)
	for part := range r.pending {
		if !words["Outputs"] || !words[part] {
			continue
		}
		r.used = true
		// Whatever the template asks of the part, the answer is the same.
		unknown := Outputs{}
		for word := range words {
			unknown[word] = knownAfter(part)
		}
		if r.facts.Outputs[part] == nil {
			facts.Outputs = maps.Clone(facts.Outputs)
			if facts.Outputs == nil {
				facts.Outputs = map[string]Outputs{}
			}
			facts.Outputs[part] = unknown
		}
	}
	var b strings.Builder
	if err := t.Execute(&b, facts); err != nil {
		return "", err
	}
	return b.String(), nil
}

// parseTemplate reads a template. A name that is not there is an error.
func parseTemplate(text string, pending map[string]bool) (*template.Template, error) {
	return template.New("").Option("missingkey=error").Funcs(templateFuncs(pending)).Parse(text)
}

// templateFuncs are the functions of templates, besides those of text/template.
// Its index, which gives "" for what is not there, is replaced.
func templateFuncs(pending map[string]bool) template.FuncMap {
	return template.FuncMap{
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"quote": strconv.Quote,
		"slug":  slug,
		"trunc": func(n int, s string) string {
			if r := []rune(s); n >= 0 && len(r) > n {
				return string(r[:n])
			}
			return s
		},
		"default": func(otherwise, v any) any {
			if v == nil || v == "" || v == 0 || v == false {
				return otherwise
			}
			return v
		},
		"index": func(from any, keys ...string) (any, error) {
			for i, key := range keys {
				switch m := from.(type) {
				case map[string]Outputs:
					if m[key] == nil && pending[key] && i+2 == len(keys) {
						return knownAfter(key), nil
					}
					v, ok := m[key]
					if !ok {
						return nil, fmt.Errorf("there are no outputs of %q here; add it to needs", key)
					}
					from = v
				case Outputs:
					v, ok := m[key]
					if !ok {
						return nil, fmt.Errorf("there is no output %q", key)
					}
					from = v
				case map[string]string:
					v, ok := m[key]
					if !ok {
						return nil, fmt.Errorf("there is no %q", key)
					}
					from = v
				default:
					return nil, fmt.Errorf("%q cannot be looked up in a %T", key, from)
				}
			}
			return from, nil
		},
	}
}

// slug makes a word that fits a DNS label of any text.
func slug(s string) string {
	s = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if len(s) > maxLabel {
		s = strings.TrimRight(s[:maxLabel], "-")
	}
	return s
}

// wordsOf collects the names and string constants in a template.
func wordsOf(root parse.Node) map[string]bool {
	words := map[string]bool{}
	var walk func(n parse.Node)
	branch := func(b *parse.BranchNode) {
		walk(b.Pipe)
		walk(b.List)
		if b.ElseList != nil {
			walk(b.ElseList)
		}
	}
	add := func(list []string) {
		for _, w := range list {
			words[w] = true
		}
	}
	walk = func(n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			for _, sub := range n.Nodes {
				walk(sub)
			}
		case *parse.ActionNode:
			walk(n.Pipe)
		case *parse.PipeNode:
			for _, c := range n.Cmds {
				walk(c)
			}
		case *parse.CommandNode:
			for _, arg := range n.Args {
				walk(arg)
			}
		case *parse.FieldNode:
			add(n.Ident)
		case *parse.VariableNode:
			add(n.Ident)
		case *parse.ChainNode:
			walk(n.Node)
			add(n.Field)
		case *parse.StringNode:
			words[n.Text] = true
		case *parse.IfNode:
			branch(&n.BranchNode)
		case *parse.RangeNode:
			branch(&n.BranchNode)
		case *parse.WithNode:
			branch(&n.BranchNode)
		case *parse.TemplateNode:
			walk(n.Pipe)
		}
	}
	walk(root)
	return words
}

var (
	templatePlace = regexp.MustCompile(`^template: :\d+(:\d+)?: (executing "" at )?`)
	missingKey    = regexp.MustCompile(`^<(.*)>: map has no entry for key "(.*)"$`)
	missingField  = regexp.MustCompile(`^<(.*)>: can't evaluate field (\S+) in type .*$`)
	failedCall    = regexp.MustCompile(`^<.*>: error calling \w+: `)
)

// templateFault says in words for people what text/template found.
func templateFault(err error) string {
	text := templatePlace.ReplaceAllString(err.Error(), "")
	if m := missingKey.FindStringSubmatch(text); m != nil {
		if strings.HasPrefix(m[1], ".Outputs.") && strings.Count(m[1], ".") >= 2 && strings.HasPrefix(m[1], ".Outputs."+m[2]) {
			return fmt.Sprintf("there are no outputs of %q here; add it to needs", m[2])
		}
		return fmt.Sprintf("there is no %s", m[1])
	}
	if m := missingField.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("there is no %s", m[1])
	}
	return failedCall.ReplaceAllString(text, "")
}

// templateFaults are the templates of a part that cannot be read.
func templateFaults(p Part) []error {
	var faults []error
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(at+"."+key, v[key])
			}
		case []any:
			for i := range v {
				walk(at+"["+strconv.Itoa(i)+"]", v[i])
			}
		case string:
			if _, err := parseTemplate(v, nil); err != nil {
				faults = append(faults, Wrap("parts.validate", CodeInvalid, err, fmt.Sprintf("part %s: %s: %s.", p.Name, at, templateFault(err))))
			}
		}
	}
	walk("with", p.With)
	return faults
}

// maxLabel is the longest DNS label, which a namespace's name is.
// Source: RFC 1123 and https://kubernetes.io/docs/concepts/overview/working-with-objects/names/.
const maxLabel = 63

var (
	label    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	notLabel = regexp.MustCompile(`[^a-z0-9]+`)
)

// renderNamespace fills in an app's namespace. A name that is too long is cut
// and ends in a hash of the whole, so that two of them stay two.
func renderNamespace(a *App, facts Facts) (string, error) {
	const op = "template.namespace"
	text := a.Namespace
	if text == "" {
		text = defaultNamespace
	}
	r := renderer{facts: facts}
	out, err := r.fill(text)
	if err != nil {
		return "", Wrap(op, CodeInvalid, err, fmt.Sprintf("The namespace of %s cannot be filled in: %s.", a.Name, templateFault(err)))
	}
	if !label.MatchString(out) {
		return "", Errorf(op, CodeInvalid, "The namespace of %s comes out as %q, which no namespace can be called: use a-z, 0-9 and \"-\", with a letter or digit first and last.", a.Name, clip(out))
	}
	if len(out) <= maxLabel {
		return out, nil
	}
	sum := sha256.Sum256([]byte(out))
	suffix := "-" + hex.EncodeToString(sum[:4])
	return strings.TrimRight(out[:maxLabel-len(suffix)], "-") + suffix, nil
}

// NamespaceOf is the namespace that an environment of the app gets, as far as
// names alone decide it. It returns CodeInvalid for a template that asks for more
// than names, such as a pull request's number.
func (a *App) NamespaceOf(env string) (string, error) {
	return renderNamespace(a, Facts{App: a.Name, Name: env, Vars: a.Vars})
}
