package helm

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"sigs.k8s.io/yaml"
)

// maxDiff is how much of a diff is kept, in bytes. The rest is counted, so
// that a cut is never silent.
const maxDiff = 512 << 10

// changes compare what is installed with what would be.
type changes struct {
	added, changed, removed []object
	were                    []object // what changed was before, in the same order
	diff                    string
}

// compare makes a diff of each object that differs, in a stable order. The
// namespace of an object that says none is the release's.
func compare(before, after []object, oldMask, newMask *masker) (*changes, error) {
	was, is := map[string]object{}, map[string]object{}
	ids := map[string]bool{}
	for _, o := range before {
		was[o.id()], ids[o.id()] = o, true
	}
	for _, o := range after {
		is[o.id()], ids[o.id()] = o, true
	}
	c := &changes{}
	var b strings.Builder
	left := 0
	for _, id := range sortedIDs(ids) {
		o, had := was[id]
		n, has := is[id]
		var text string
		var err error
		switch {
		case had && has:
			if reflect.DeepEqual(o.content, n.content) {
				continue
			}
			c.changed, c.were = append(c.changed, n), append(c.were, o)
			text, err = unified(n, &o, &n, oldMask, newMask)
		case has:
			c.added = append(c.added, n)
			text, err = unified(n, nil, &n, oldMask, newMask)
		default:
			if o.kept() {
				continue // Helm leaves it where it is
			}
			c.removed = append(c.removed, o)
			text, err = unified(o, &o, nil, oldMask, newMask)
		}
		if err != nil {
			return nil, err
		}
		if b.Len()+len(text) > maxDiff {
			left++
			continue
		}
		b.WriteString(text)
	}
	if left > 0 {
		fmt.Fprintf(&b, "# The diff is too long: %s left out.\n", count(left, "object"))
	}
	c.diff = b.String()
	return c, nil
}

func sortedIDs(ids map[string]bool) []string {
	out := make([]string, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func unified(named object, from, to *object, oldMask, newMask *masker) (string, error) {
	title := named.kind() + "/" + named.name()
	if ns := named.namespace(); ns != "" {
		title = ns + "/" + title
	}
	d := difflib.UnifiedDiff{FromFile: "installed/" + title, ToFile: "planned/" + title, Context: 3}
	var err error
	if from == nil {
		d.FromFile = "/dev/null"
	} else if d.A, err = maskedLines(*from, oldMask); err != nil {
		return "", err
	}
	if to == nil {
		d.ToFile = "/dev/null"
	} else if d.B, err = maskedLines(*to, newMask); err != nil {
		return "", err
	}
	text, err := difflib.GetUnifiedDiffString(d)
	if err == nil && text == "" {
		// Only what is hidden differs in a way that hides it.
		text = fmt.Sprintf("--- %s\n+++ %s\n", d.FromFile, d.ToFile)
	}
	return text, err
}

// maskedLines is an object as YAML, with its keys sorted and no secrets.
func maskedLines(o object, m *masker) ([]string, error) {
	data, err := yaml.Marshal(m.maskObject(o))
	if err != nil {
		return nil, err
	}
	return difflib.SplitLines(strings.TrimSuffix(string(data), "\n")), nil
}
