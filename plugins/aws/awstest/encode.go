package awstest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// toJSON writes a value of a shape for the json protocols.
func (m *model) toJSON(s *shape, v any) any {
	switch v := v.(type) {
	case params:
		out := map[string]any{}
		for k, e := range v {
			if s.Type == "map" {
				out[k] = m.toJSON(m.Shapes[s.Value.Shape], e)
				continue
			}
			r, ok := s.Members[k]
			if !ok || r.Location != "" {
				continue
			}
			if r.LocationName != "" {
				k = r.LocationName
			}
			out[k] = m.toJSON(m.Shapes[r.Shape], e)
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, m.toJSON(m.Shapes[s.Member.Shape], e))
		}
		return out
	case time.Time:
		if s.TimestampFormat == "iso8601" {
			return v.UTC().Format("2006-01-02T15:04:05.000Z")
		}
		return json.Number(strconv.FormatFloat(float64(v.UnixMilli())/1000, 'f', 3, 64))
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	}
	return v
}

// unknown is the first member of v that its shape does not have: what this
// package answers is held to the model as what it is asked is.
func (m *model) unknown(s *shape, v any, at string) string {
	switch v := v.(type) {
	case params:
		for k, e := range v {
			r, ok := s.Members[k]
			if s.Type == "map" {
				r, ok = s.Value, true
			}
			if !ok {
				return at + "." + k
			}
			if bad := m.unknown(m.Shapes[r.Shape], e, at+"."+k); bad != "" {
				return bad
			}
		}
	case []any:
		if s.Type != "list" {
			return at
		}
		for _, e := range v {
			if bad := m.unknown(m.Shapes[s.Member.Shape], e, at); bad != "" {
				return bad
			}
		}
	}
	return ""
}

// toXML writes a value of a shape as the content of an element.
func (m *model) toXML(b *bytes.Buffer, name string, r ref, v any) {
	s := m.Shapes[r.Shape]
	switch v := v.(type) {
	case params:
		if s.Type == "map" {
			m.mapToXML(b, name, r, s, v)
			return
		}
		open(b, name)
		m.membersToXML(b, s, v)
		shut(b, name)
	case []any:
		item := s.Member.LocationName
		if r.Flattened || s.Flattened {
			if item == "" || r.LocationName != "" {
				item = name
			}
			for _, e := range v {
				m.toXML(b, item, s.Member, e)
			}
			return
		}
		if item == "" {
			item = "member"
		}
		open(b, name)
		for _, e := range v {
			m.toXML(b, item, s.Member, e)
		}
		shut(b, name)
	default:
		open(b, name)
		_ = xml.EscapeText(b, []byte(textOf(s, v)))
		shut(b, name)
	}
}

func (m *model) membersToXML(b *bytes.Buffer, s *shape, v params) {
	for _, k := range s.names { // a fixed order
		e, ok := v[k]
		if r := s.Members[k]; ok && r.Location == "" {
			name := k
			if r.LocationName != "" {
				name = r.LocationName
			}
			m.toXML(b, name, r, e)
		}
	}
}

func (m *model) mapToXML(b *bytes.Buffer, name string, r ref, s *shape, v params) {
	kn, vn := s.Key.LocationName, s.Value.LocationName
	if kn == "" {
		kn = "key"
	}
	if vn == "" {
		vn = "value"
	}
	entry := "entry"
	if r.Flattened || s.Flattened {
		entry = name
	} else {
		open(b, name)
		defer shut(b, name)
	}
	for _, k := range sortedKeys(v) {
		open(b, entry)
		m.toXML(b, kn, s.Key, k)
		m.toXML(b, vn, s.Value, v[k])
		shut(b, entry)
	}
}

func open(b *bytes.Buffer, name string) { b.WriteString("<" + name + ">") }
func shut(b *bytes.Buffer, name string) { b.WriteString("</" + name + ">") }

func textOf(s *shape, v any) string {
	switch v := v.(type) {
	case time.Time:
		if s.TimestampFormat == "rfc822" {
			return v.UTC().Format(http.TimeFormat)
		}
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// writeJSON answers an operation of the json protocol.
func (m *model) writeJSON(w http.ResponseWriter, op *operation, out params) {
	s := m.output(op)
	if s == nil {
		return // AWS answers nothing at all
	}
	if out == nil {
		out = params{}
	}
	_ = json.NewEncoder(w).Encode(m.toJSON(s, out))
}
