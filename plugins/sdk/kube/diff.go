package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// maxDiff is how much of a diff is kept, in bytes. The rest is counted, so
// that a cut is never silent.
const maxDiff = 512 << 10

// Changes compare what is there with what would be.
type Changes struct {
	Added, Changed, Removed []*unstructured.Unstructured
	Were                    []*unstructured.Unstructured // what changed was before, in the same order
	Diff                    string                       // unified, without secrets
}

// Compare makes a diff of each object that differs, in a stable order, with the
// secrets that oldMask knows hidden in what goes and those of newMask in what
// comes. What keep holds for is not removed; nil keeps nothing.
func Compare(before, after []*unstructured.Unstructured, oldMask, newMask *Masker, keep func(*unstructured.Unstructured) bool) (*Changes, error) {
	was, is := map[string]*unstructured.Unstructured{}, map[string]*unstructured.Unstructured{}
	ids := map[string]bool{}
	for _, o := range before {
		was[ID(o, "")], ids[ID(o, "")] = o, true
	}
	for _, o := range after {
		is[ID(o, "")], ids[ID(o, "")] = o, true
	}
	c := &Changes{}
	var b strings.Builder
	left := 0
	for _, id := range sortedKeys(ids) {
		o, had := was[id]
		n, has := is[id]
		var text string
		var err error
		switch {
		case had && has:
			if reflect.DeepEqual(o.Object, n.Object) {
				continue
			}
			c.Changed, c.Were = append(c.Changed, n), append(c.Were, o)
			text, err = unified(n, o, n, oldMask, newMask)
		case has:
			c.Added = append(c.Added, n)
			text, err = unified(n, nil, n, oldMask, newMask)
		default:
			if keep != nil && keep(o) {
				continue // it is left where it is
			}
			c.Removed = append(c.Removed, o)
			text, err = unified(o, o, nil, oldMask, newMask)
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
		fmt.Fprintf(&b, "# The diff is too long: %s left out.\n", Count(left, "object"))
	}
	c.Diff = b.String()
	return c, nil
}

func sortedKeys(ids map[string]bool) []string {
	out := make([]string, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func unified(named *unstructured.Unstructured, from, to *unstructured.Unstructured, oldMask, newMask *Masker) (string, error) {
	title := named.GetKind() + "/" + named.GetName()
	if ns := named.GetNamespace(); ns != "" {
		title = ns + "/" + title
	}
	d := difflib.UnifiedDiff{FromFile: "installed/" + title, ToFile: "planned/" + title, Context: 3}
	var err error
	if from == nil {
		d.FromFile = "/dev/null"
	} else if d.A, err = maskedLines(from, oldMask); err != nil {
		return "", err
	}
	if to == nil {
		d.ToFile = "/dev/null"
	} else if d.B, err = maskedLines(to, newMask); err != nil {
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
func maskedLines(o *unstructured.Unstructured, m *Masker) ([]string, error) {
	data, err := yaml.Marshal(m.Object(o))
	if err != nil {
		return nil, err
	}
	return difflib.SplitLines(strings.TrimSuffix(string(data), "\n")), nil
}
