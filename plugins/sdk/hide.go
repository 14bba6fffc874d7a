package sdk

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// hidden stands for a secret in a text.
const hidden = "***"

// hider takes the secrets that one call has looked up out of all that the call
// tells, so that none leaves the program for a line that its author did not
// think of. It is safe for concurrent use.
type hider struct {
	mu     sync.Mutex
	values map[string]bool
	hide   *strings.Replacer // nil while there is nothing to hide
}

type hiderKey struct{}

// withHider is ctx with a hider that Secrets tells what it looked up.
func withHider(ctx context.Context) (context.Context, *hider) {
	h := &hider{values: map[string]bool{}}
	return context.WithValue(ctx, hiderKey{}, h), h
}

// Hide has a secret hidden in all that the call of ctx tells from now on, in the
// forms that SecretForms has: for values that Secrets did not look up, such as
// one that the cloud has answered with. Shorter ones than MinSecret are not
// hidden, since they are in other texts by chance.
func Hide(ctx context.Context, secret string) {
	if utf8.RuneCountInString(strings.TrimSpace(secret)) >= MinSecret {
		learn(ctx, secret)
	}
}

// learn makes the call of ctx hide a secret from now on.
func learn(ctx context.Context, secret string) {
	h, ok := ctx.Value(hiderKey{}).(*hider)
	if !ok {
		return // it is not called by a host
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.values[secret] {
		return
	}
	h.values[secret] = true
	var forms []string
	for value := range h.values {
		forms = append(forms, SecretForms(value)...)
	}
	// The longest first: one secret may be a part of another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, form := range forms {
		pairs = append(pairs, form, hidden)
	}
	h.hide = strings.NewReplacer(pairs...)
}

// text is s without secrets.
func (h *hider) text(s string) string {
	h.mu.Lock()
	hide := h.hide
	h.mu.Unlock()
	if hide == nil {
		return s
	}
	return hide.Replace(s)
}

func (h *hider) resource(r Resource) Resource {
	r.Kind, r.Name, r.Namespace = h.text(r.Kind), h.text(r.Name), h.text(r.Namespace)
	return r
}

func (h *hider) plan(p Plan) Plan {
	p.Summary, p.Diff, p.Cost = h.text(p.Summary), h.text(p.Diff), h.text(p.Cost)
	inputs := make(map[string]string, len(p.Inputs))
	for key, value := range p.Inputs {
		inputs[h.text(key)] = h.text(value)
	}
	p.Inputs, p.Resources = inputs, slices.Clone(p.Resources)
	for i, r := range p.Resources {
		p.Resources[i] = h.resource(r)
	}
	return p
}

func (h *hider) observation(o Observation) Observation {
	o.Text, o.Links, o.Drift = h.text(o.Text), slices.Clone(o.Links), slices.Clone(o.Drift)
	for i, l := range o.Links {
		o.Links[i] = Link{Name: h.text(l.Name), URL: h.text(l.URL)}
	}
	for i, d := range o.Drift {
		o.Drift[i] = h.text(d)
	}
	o.Facts, o.Renew = slices.Clone(o.Facts), h.text(o.Renew)
	for i, f := range o.Facts {
		o.Facts[i] = Fact{Name: h.text(f.Name), Text: h.text(f.Text)}
	}
	return o
}

func (h *hider) findings(all []Finding) []Finding {
	all = slices.Clone(all)
	for i, f := range all {
		all[i] = Finding{Name: h.text(f.Name), OK: f.OK, Detail: h.text(f.Detail), Fix: h.text(f.Fix), Paste: h.text(f.Paste)}
	}
	return all
}

// failure is err without secrets. What it wraps is gone then: only its text is
// for the wire.
func (h *hider) failure(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return errors.New(h.text(err.Error()))
	}
	told := *e
	if told.Msg = h.text(e.Msg); e.Err != nil {
		told.Err = errors.New(h.text(e.Err.Error()))
	}
	return &told
}
