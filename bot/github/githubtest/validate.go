package githubtest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // The description.
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed testdata/api.github.com.json.gz
var descriptionGz []byte

// Violation is a request or an answer that GitHub's API description does not
// allow.
type Violation struct {
	Method    string
	Path      string
	Operation string // as in Request; empty if the path is none of GitHub's
	Side      string // "request", or "response" for a fault of the stand-in
	Problem   string
}

// String is one line about the violation.
func (v Violation) String() string {
	return fmt.Sprintf("%s of %s %s: %s", v.Side, v.Method, v.Path, v.Problem)
}

// Violations lists what did not satisfy the API description so far.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Violation(nil), s.violations...)
}

// description loads GitHub's description of the operations, once and late.
var description = sync.OnceValues(func() (*openapi3.T, error) {
	zr, err := gzip.NewReader(bytes.NewReader(descriptionGz))
	if err != nil {
		return nil, fmt.Errorf("githubtest: the embedded API description: %w", err)
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("githubtest: the embedded API description: %w", err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, fmt.Errorf("githubtest: the embedded API description: %w", err)
	}
	return doc, nil
})

// operation finds what the description says about a route.
func operation(method, template string) (*openapi3.Operation, error) {
	doc, err := description()
	if err != nil {
		return nil, err
	}
	item := doc.Paths.Value(template)
	if item == nil || item.GetOperation(method) == nil {
		return nil, fmt.Errorf("githubtest: the API description has no %s %s", method, template)
	}
	return item.GetOperation(method), nil
}

// checkRequest compares a call with its operation. fatal is what GitHub would
// refuse; odd is what it ignores but a caller should not send.
func checkRequest(op *openapi3.Operation, c *call) (odd []string, fatal error) {
	known := map[string]bool{}
	query := c.r.URL.Query()
	var errs []error
	for _, ref := range op.Parameters {
		p := ref.Value
		var text string
		var present bool
		switch p.In {
		case "path":
			text, present = c.params[p.Name], true
		case "query":
			known[p.Name] = true
			text, present = query.Get(p.Name), query.Has(p.Name)
		default:
			continue
		}
		if !present {
			if p.Required {
				errs = append(errs, fmt.Errorf("the parameter %s is missing", p.Name))
			}
			continue
		}
		if err := checkParameter(p, text); err != nil {
			errs = append(errs, fmt.Errorf("the parameter %s: %w", p.Name, err))
		}
	}
	for name := range query {
		if !known[name] {
			odd = append(odd, "there is no query parameter "+name)
		}
	}
	bodyOdd, bodyErr := checkBody(op, c)
	return append(odd, bodyOdd...), errors.Join(append(errs, bodyErr)...)
}

func checkParameter(p *openapi3.Parameter, text string) error {
	schema := p.Schema.Value
	var value any = text
	switch {
	case schema.Type.Is("integer"):
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer", text)
		}
		value = float64(n)
	case schema.Type.Is("boolean"):
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not a boolean", text)
		}
		value = b
	}
	return reason(schema.VisitJSON(value, openapi3.VisitAsRequest()))
}

func checkBody(op *openapi3.Operation, c *call) (odd []string, fatal error) {
	if op.RequestBody == nil {
		if len(c.raw) > 0 {
			return []string{"this operation takes no body"}, nil
		}
		return nil, nil
	}
	if len(c.raw) == 0 {
		if op.RequestBody.Value.Required {
			return nil, errors.New("the body is missing")
		}
		return nil, nil
	}
	if ct := c.r.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		odd = append(odd, fmt.Sprintf("the body's Content-Type is %q", ct))
	}
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil {
		return odd, nil
	}
	schema := media.Schema.Value
	if known := propertyNames(schema); known != nil {
		for key := range c.body {
			if !slices.Contains(known, key) {
				odd = append(odd, "the body has no property "+key)
			}
		}
	}
	return odd, reason(schema.VisitJSON(c.body, openapi3.VisitAsRequest(), openapi3.MultiErrors()))
}

// propertyNames is every property that an object of the schema may have; nil
// when it may have any.
func propertyNames(schema *openapi3.Schema) []string {
	var names []string
	for name := range schema.Properties {
		names = append(names, name)
	}
	for _, group := range []openapi3.SchemaRefs{schema.OneOf, schema.AnyOf, schema.AllOf} {
		for _, ref := range group {
			names = append(names, propertyNames(ref.Value)...)
		}
	}
	return names
}

// checkResponse compares an answer of the stand-in's own with the description.
func checkResponse(op *openapi3.Operation, status int, contentType string, body []byte) error {
	ref := op.Responses.Status(status)
	if ref == nil {
		if status >= 400 || status == 304 {
			return nil // The description leaves out what every operation may answer.
		}
		return fmt.Errorf("the status %d is not in the description", status)
	}
	if len(ref.Value.Content) == 0 {
		if len(body) > 0 && status < 300 {
			return fmt.Errorf("the status %d has no body", status)
		}
		return nil
	}
	base, _, _ := strings.Cut(contentType, ";")
	media := ref.Value.Content.Get(base)
	if media == nil || media.Schema == nil {
		return nil
	}
	var value any = string(body)
	if strings.HasSuffix(base, "json") {
		if err := json.Unmarshal(body, &value); err != nil {
			return fmt.Errorf("the body is not JSON: %w", err)
		}
	}
	return reason(media.Schema.Value.VisitJSON(value,
		openapi3.VisitAsResponse(), openapi3.MultiErrors(), openapi3.EnableFormatValidation()))
}

// reason cuts the schema and the value out of a validation error, which run to
// pages, and keeps where it is and what is wrong.
func reason(err error) error {
	if err == nil {
		return nil
	}
	var list []string
	var walk func(error)
	walk = func(err error) {
		var many openapi3.MultiError
		var one *openapi3.SchemaError
		switch {
		case errors.As(err, &many):
			for _, e := range many {
				walk(e)
			}
		case errors.As(err, &one):
			at := strings.Join(one.JSONPointer(), "/")
			text := one.Reason
			if one.Origin != nil && len(list) < 20 && one.SchemaField != "oneOf" && one.SchemaField != "anyOf" {
				text = one.Origin.Error()
			}
			if first, _, cut := strings.Cut(text, "\n"); cut {
				text = first
			}
			list = append(list, strings.TrimPrefix(at+": "+text, ": "))
		default:
			list = append(list, err.Error())
		}
	}
	walk(err)
	return errors.New(strings.Join(list, "; "))
}

// escapePath escapes each segment of a file's path for a URL.
func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
