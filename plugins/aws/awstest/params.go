package awstest

import "maps"

// params are what goes into an operation or comes out, in the terms of its
// model: string, int64, float64, bool, time.Time, []byte, []any and params.
type params map[string]any

func (p params) str(name string) string {
	s, _ := p[name].(string)
	return s
}

// or is a text with what it is when it is not given.
func (p params) or(name, otherwise string) string {
	if s := p.str(name); s != "" {
		return s
	}
	return otherwise
}

func (p params) num(name string) int64 {
	n, _ := p[name].(int64)
	return n
}

func (p params) flag(name string) bool {
	b, _ := p[name].(bool)
	return b
}

func (p params) has(name string) bool {
	_, ok := p[name]
	return ok
}

func (p params) sub(name string) params {
	m, _ := p[name].(params)
	return m
}

func (p params) list(name string) []any {
	l, _ := p[name].([]any)
	return l
}

func (p params) subs(name string) []params {
	var out []params
	for _, v := range p.list(name) {
		if m, ok := v.(params); ok {
			out = append(out, m)
		}
	}
	return out
}

func (p params) strs(name string) []string {
	var out []string
	for _, v := range p.list(name) {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// texts is a map of texts.
func (p params) texts(name string) map[string]string {
	out := map[string]string{}
	for k, v := range p.sub(name) {
		out[k], _ = v.(string)
	}
	return out
}

// take copies the named ones that are there into a new one.
func (p params) take(names ...string) params {
	out := params{}
	for _, n := range names {
		if v, ok := p[n]; ok {
			out[n] = v
		}
	}
	return out
}

// with is a copy with more in it.
func (p params) with(more params) params {
	out := maps.Clone(p)
	maps.Copy(out, more)
	return out
}

func anys[T any](in []T) []any {
	out := make([]any, 0, len(in))
	for _, v := range in {
		out = append(out, v)
	}
	return out
}
