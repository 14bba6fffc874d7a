package awstest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// decodeQuery reads the form of the query protocol. What the shape does not
// know is an error: the client means something that AWS would not see.
func (m *model) decodeQuery(form url.Values, in *shape) (params, error) {
	d := queryDecoder{m: m, form: form, used: map[string]bool{"Action": true, "Version": true}}
	out := params{}
	if in != nil {
		v, err := d.structure(in, "")
		if err != nil {
			return nil, err
		}
		out = v
	}
	for key := range form {
		if !d.used[key] {
			return nil, fmt.Errorf("the model knows no parameter %q", key)
		}
	}
	return out, nil
}

type queryDecoder struct {
	m    *model
	form url.Values
	used map[string]bool
}

func (d *queryDecoder) there(key string) bool {
	if _, ok := d.form[key]; ok {
		return true
	}
	for k := range d.form {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

func (d *queryDecoder) structure(s *shape, prefix string) (params, error) {
	out := params{}
	for _, name := range s.names {
		r := s.Members[name]
		key := name
		if r.LocationName != "" {
			key = r.LocationName
		}
		if prefix != "" {
			key = prefix + "." + key
		}
		member := d.m.Shapes[r.Shape]
		if member.Type == "list" && (r.Flattened || member.Flattened) && member.Member.LocationName != "" {
			key = key[:strings.LastIndex(key, ".")+1] + member.Member.LocationName
		}
		if !d.there(key) {
			continue
		}
		v, err := d.value(r, key)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func (d *queryDecoder) value(r ref, key string) (any, error) {
	s := d.m.Shapes[r.Shape]
	flat := r.Flattened || s.Flattened
	switch s.Type {
	case "structure":
		return d.structure(s, key)
	case "list":
		d.used[key] = true // an empty list is its name alone
		if !flat {
			name := s.Member.LocationName
			if name == "" {
				name = "member"
			}
			key += "." + name
		}
		out := []any{}
		for i := 1; d.there(key + "." + strconv.Itoa(i)); i++ {
			v, err := d.value(s.Member, key+"."+strconv.Itoa(i))
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case "map":
		return d.mapping(s, key, flat)
	}
	d.used[key] = true
	return scalar(s, d.form.Get(key), r.TimestampFormat)
}

func (d *queryDecoder) mapping(s *shape, key string, flat bool) (any, error) {
	d.used[key] = true
	if !flat {
		key += ".entry"
	}
	kn, vn := s.Key.LocationName, s.Value.LocationName
	if kn == "" {
		kn = "key"
	}
	if vn == "" {
		vn = "value"
	}
	out := params{}
	for i := 1; d.there(key + "." + strconv.Itoa(i)); i++ {
		at := key + "." + strconv.Itoa(i)
		d.used[at+"."+kn] = true
		v, err := d.value(s.Value, at+"."+vn)
		if err != nil {
			return nil, err
		}
		out[d.form.Get(at+"."+kn)] = v
	}
	return out, nil
}

// scalar reads a text as what its shape says.
func scalar(s *shape, text, format string) (any, error) {
	fail := func(err error) error { return fmt.Errorf("%q is no %s: %w", text, s.Type, err) }
	switch s.Type {
	case "string", "character":
		return text, nil
	case "boolean":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fail(err)
		}
		return b, nil
	case "integer", "long":
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fail(err)
		}
		return n, nil
	case "float", "double":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fail(err)
		}
		return n, nil
	case "blob":
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fail(err)
		}
		return b, nil
	case "timestamp":
		layout := time.RFC3339Nano
		if format == "rfc822" || s.TimestampFormat == "rfc822" {
			layout = "Mon, 02 Jan 2006 15:04:05 GMT"
		}
		t, err := time.Parse(layout, text)
		if err != nil {
			return nil, fail(err)
		}
		return t, nil
	}
	return nil, fmt.Errorf("the model has a %s where only text can be", s.Type)
}

// decodeJSON reads the body of the json protocols.
func (m *model) decodeJSON(data []byte, in *shape) (params, error) {
	if in == nil {
		return params{}, nil
	}
	if len(data) == 0 {
		data = []byte("{}")
	}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("the body is no JSON: %w", err)
	}
	out, err := m.fromJSON(in, v, "")
	if err != nil {
		return nil, err
	}
	p, ok := out.(params)
	if !ok {
		return nil, errors.New("the body is no object")
	}
	return p, nil
}

func (m *model) fromJSON(s *shape, v any, at string) (any, error) {
	wrong := fmt.Errorf("%s is %T where the model has a %s", at, v, s.Type)
	switch s.Type {
	case "structure", "map":
		obj, ok := v.(map[string]any)
		if !ok {
			return nil, wrong
		}
		return m.objectFromJSON(s, obj, at)
	case "list":
		list, ok := v.([]any)
		if !ok {
			return nil, wrong
		}
		out := []any{}
		for i, e := range list {
			w, err := m.fromJSON(m.Shapes[s.Member.Shape], e, fmt.Sprintf("%s[%d]", at, i))
			if err != nil {
				return nil, err
			}
			out = append(out, w)
		}
		return out, nil
	}
	switch v := v.(type) {
	case string:
		if s.Type == "string" || s.Type == "blob" {
			return scalar(s, v, "")
		}
	case bool:
		if s.Type == "boolean" {
			return v, nil
		}
	case json.Number:
		if s.Type == "timestamp" {
			f, err := v.Float64()
			whole, frac := math.Modf(f)
			return time.Unix(int64(whole), int64(frac*1e9)).UTC(), err
		}
		if s.Type != "string" && s.Type != "boolean" {
			return scalar(s, v.String(), "")
		}
	}
	return nil, wrong
}

func (m *model) objectFromJSON(s *shape, obj map[string]any, at string) (params, error) {
	out := params{}
	byName := map[string]string{}
	for name, r := range s.Members {
		byName[name] = name
		if r.LocationName != "" {
			delete(byName, name)
			byName[r.LocationName] = name
		}
	}
	for key, v := range obj {
		if v == nil {
			continue
		}
		name, r := key, s.Value
		if s.Type == "structure" {
			var ok bool
			if name, ok = byName[key]; !ok {
				return nil, fmt.Errorf("the model knows no member %s.%s", at, key)
			}
			r = s.Members[name]
		}
		w, err := m.fromJSON(m.Shapes[r.Shape], v, at+"."+name)
		if err != nil {
			return nil, err
		}
		out[name] = w
	}
	return out, nil
}

// node is an element of XML.
type node struct {
	name string
	text string
	kids []*node
	attr []xml.Attr
}

// parseXML reads a document into nodes; nil for none.
func parseXML(r io.Reader) (*node, error) {
	dec := xml.NewDecoder(r)
	var open []*node
	var root *node
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the body is no XML: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local, attr: t.Attr}
			if len(open) > 0 {
				top := open[len(open)-1]
				top.kids = append(top.kids, n)
			} else {
				root = n
			}
			open = append(open, n)
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(t)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
}

// fromXML reads an element as what its shape says.
func (m *model) fromXML(s *shape, n *node) (any, error) {
	switch s.Type {
	case "structure":
		return m.structureFromXML(s, n)
	case "list":
		out := []any{}
		for _, k := range n.kids {
			v, err := m.fromXML(m.Shapes[s.Member.Shape], k)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case "map":
		return nil, fmt.Errorf("%s: maps in XML are not read", n.name)
	}
	return scalar(s, n.text, "")
}

func (m *model) structureFromXML(s *shape, n *node) (params, error) {
	out := params{}
	for _, name := range s.names {
		if r := s.Members[name]; r.XMLAttribute {
			for _, a := range n.attr {
				if strings.HasSuffix(r.LocationName, a.Name.Local) {
					out[name] = a.Value
				}
			}
		}
	}
	for _, k := range n.kids {
		name, r, ok := memberOfXML(m, s, k.name)
		if !ok {
			return nil, fmt.Errorf("the model knows no member %s in %s", k.name, n.name)
		}
		member := m.Shapes[r.Shape]
		if member.Type == "list" && (r.Flattened || member.Flattened) {
			v, err := m.fromXML(m.Shapes[member.Member.Shape], k)
			if err != nil {
				return nil, err
			}
			out[name] = append(out.list(name), v)
			continue
		}
		v, err := m.fromXML(member, k)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func memberOfXML(m *model, s *shape, element string) (string, ref, bool) {
	for _, name := range s.names {
		r := s.Members[name]
		want := name
		if member := m.Shapes[r.Shape]; member.Type == "list" && (r.Flattened || member.Flattened) && member.Member.LocationName != "" {
			want = member.Member.LocationName
		}
		if r.LocationName != "" {
			want = r.LocationName
		}
		if want == element && r.Location == "" {
			return name, r, true
		}
	}
	return "", ref{}, false
}
