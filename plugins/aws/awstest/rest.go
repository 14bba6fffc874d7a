package awstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is how a rest operation is asked for.
type route struct {
	op       *operation
	segments []string   // "{Id}" stands for one, "{Key+}" for the rest
	query    url.Values // what has to be in the query
	needs    []ref      // what its input requires in query or header
}

func routesOf(m *model) []route {
	var out []route
	for _, name := range sortedKeys(m.Operations) {
		op := m.Operations[name]
		if op.Deprecated { // its successor has the same address
			continue
		}
		path, query, _ := strings.Cut(op.HTTP.RequestURI, "?")
		r := route{op: op, segments: strings.Split(strings.Trim(path, "/"), "/")}
		r.query, _ = url.ParseQuery(query)
		if in := m.input(op); in != nil {
			for _, req := range in.Required {
				if mr := in.Members[req]; mr.Location == "querystring" || mr.Location == "header" {
					r.needs = append(r.needs, mr)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// match is the values of the path's places, and how closely the route fits;
// below 0 when it does not.
func (r route) match(req *http.Request, query url.Values) (params, int) {
	if req.Method != r.op.HTTP.Method {
		return nil, -1
	}
	have := strings.Split(strings.Trim(req.URL.EscapedPath(), "/"), "/")
	score, uri := 0, params{}
	for i, seg := range r.segments {
		switch {
		case i >= len(have) || have[i] == "" && seg != "":
			return nil, -1
		case strings.HasSuffix(seg, "+}"):
			rest, err := url.PathUnescape(strings.Join(have[i:], "/"))
			if err != nil {
				return nil, -1
			}
			uri[strings.Trim(seg, "{+}")] = rest
			have = have[:i+1]
			score++
		case strings.HasPrefix(seg, "{"):
			v, err := url.PathUnescape(have[i])
			if err != nil {
				return nil, -1
			}
			uri[strings.Trim(seg, "{}")] = v
		case seg != have[i]:
			return nil, -1
		default:
			score += 2
		}
	}
	if len(have) != len(r.segments) {
		return nil, -1
	}
	for k, v := range r.query {
		if _, ok := query[k]; !ok || v[0] != "" && query.Get(k) != v[0] {
			return nil, -1
		}
		score += 10
	}
	for _, n := range r.needs {
		_, inQuery := query[n.LocationName]
		if n.Location == "querystring" && !inQuery || n.Location == "header" && req.Header.Get(n.LocationName) == "" {
			return nil, -1
		}
		score += 5
	}
	return uri, score
}

// decodeREST finds the operation that a request asks for, and reads what goes in.
func (m *model) decodeREST(r *http.Request, query url.Values, body []byte) (*operation, params, error) {
	best, score := route{}, -1
	var uri params
	for _, candidate := range m.routes {
		if u, n := candidate.match(r, query); n > score {
			best, score, uri = candidate, n, u
		}
	}
	if score < 0 {
		return nil, nil, fmt.Errorf("the model knows no %s %s", r.Method, r.URL.EscapedPath())
	}
	in := m.input(best.op)
	out := params{}
	if in == nil {
		return best.op, out, nil
	}
	used := map[string]bool{"x-id": true}
	for k := range best.query {
		used[k] = true
	}
	for _, name := range in.names {
		mr := in.Members[name]
		s := m.Shapes[mr.Shape]
		var v any
		var err error
		switch values := query[mr.LocationName]; {
		case mr.Location == "uri":
			v, err = scalar(s, uri.str(mr.LocationName), "")
		case mr.Location == "querystring" && len(values) > 0:
			used[mr.LocationName] = true
			if s.Type == "list" {
				v = anys(values)
				break
			}
			v, err = scalar(s, values[0], "")
		case mr.Location == "header" && r.Header.Get(mr.LocationName) != "":
			v, err = m.fromHeader(mr, s, r.Header.Get(mr.LocationName))
		}
		if err != nil {
			return best.op, nil, fmt.Errorf("%s: %w", name, err)
		}
		if v != nil {
			out[name] = v
		}
	}
	for k := range query {
		if !used[k] {
			return best.op, nil, fmt.Errorf("the model of %s knows no %q in the query", best.op.Name, k)
		}
	}
	return best.op, out, m.decodeBody(in, body, out)
}

func (m *model) fromHeader(r ref, s *shape, text string) (any, error) {
	if s.Type == "list" {
		return anys(strings.Split(text, ",")), nil
	}
	format := r.TimestampFormat
	if s.Type == "timestamp" && format == "" {
		format = "rfc822"
	}
	return scalar(s, text, format)
}

// decodeBody reads the members that are in the body into out.
func (m *model) decodeBody(in *shape, body []byte, out params) error {
	target, name := in, ""
	if in.Payload != "" {
		name = in.Payload
		target = m.Shapes[in.Members[name].Shape]
		if target.Type != "structure" { // an object's content: not for us
			return nil
		}
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var got params
	if m.Metadata.Protocol == "rest-json" {
		p, err := m.decodeJSON(body, target)
		if err != nil {
			return err
		}
		got = p
	} else {
		root, err := parseXML(bytes.NewReader(body))
		if err != nil {
			return err
		}
		v, err := m.structureFromXML(target, root)
		if err != nil {
			return err
		}
		got = v
	}
	if name != "" {
		out[name] = got
		return nil
	}
	for k, v := range got {
		out[k] = v
	}
	return nil
}

// writeREST answers a rest operation.
func (m *model) writeREST(w http.ResponseWriter, op *operation, out params, id string) {
	w.Header().Set("X-Amzn-Requestid", id)
	status := op.HTTP.ResponseCode
	if status == 0 {
		status = http.StatusOK
	}
	s := m.output(op)
	if s == nil {
		w.WriteHeader(status)
		return
	}
	for _, name := range s.names {
		if r := s.Members[name]; r.Location == "header" && out.has(name) {
			w.Header().Set(r.LocationName, textOf(m.Shapes[r.Shape], out[name]))
		}
	}
	if m.Metadata.Protocol == "rest-json" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(m.toJSON(s, out))
		return
	}
	root, body := op.Name+"Response", out
	if s.Payload != "" {
		r := s.Members[s.Payload]
		root, body, s = r.LocationName, out.sub(s.Payload), m.Shapes[r.Shape]
		if root == "" {
			root = r.Shape
		}
	}
	var b bytes.Buffer
	m.membersToXML(&b, s, body)
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	if b.Len() > 0 || !slices.Contains([]int{http.StatusNoContent}, status) {
		_, _ = fmt.Fprintf(w, "%s<%s xmlns=%q>%s</%s>", xml.Header, root, m.Metadata.XMLNamespace, b.Bytes(), root)
	}
}
