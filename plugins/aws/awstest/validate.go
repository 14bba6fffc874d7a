package awstest

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// validate holds a value to its shape, and says the first thing that is wrong.
func (m *model) validate(s *shape, v any, at string) error {
	switch s.Type {
	case "structure":
		p, ok := v.(params)
		if !ok {
			return fmt.Errorf("%s is no structure", at)
		}
		for _, name := range s.Required {
			if !p.has(name) {
				return fmt.Errorf("%s.%s is required", at, name)
			}
		}
		for _, name := range s.names {
			if !p.has(name) {
				continue
			}
			if err := m.validate(m.Shapes[s.Members[name].Shape], p[name], at+"."+name); err != nil {
				return err
			}
		}
	case "list":
		l, _ := v.([]any)
		if err := inRange(s, float64(len(l)), at+" has so many elements:"); err != nil {
			return err
		}
		for i, e := range l {
			if err := m.validate(m.Shapes[s.Member.Shape], e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "map":
		p, _ := v.(params)
		if err := inRange(s, float64(len(p)), at+" has so many entries:"); err != nil {
			return err
		}
		for k, e := range p {
			if err := m.validate(m.Shapes[s.Key.Shape], k, at+" key"); err != nil {
				return err
			}
			if err := m.validate(m.Shapes[s.Value.Shape], e, at+"."+k); err != nil {
				return err
			}
		}
	case "string":
		return validText(s, v, at)
	case "integer", "long":
		n, _ := v.(int64)
		return inRange(s, float64(n), at)
	case "float", "double":
		n, _ := v.(float64)
		return inRange(s, n, at)
	case "blob":
		b, _ := v.([]byte)
		return inRange(s, float64(len(b)), at+" has so many bytes:")
	}
	return nil
}

func validText(s *shape, v any, at string) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s is no text", at)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
		return fmt.Errorf("%s is %q, which is none of %q", at, text, s.Enum)
	}
	if err := inRange(s, float64(utf8.RuneCountInString(text)), at+" has so many characters:"); err != nil {
		return err
	}
	if s.match != nil && !s.match.MatchString(text) {
		return fmt.Errorf("%s does not match %s", at, s.Pattern) // not the text: it may be a password
	}
	return nil
}

func inRange(s *shape, n float64, at string) error {
	if s.Min != nil && n < *s.Min {
		return fmt.Errorf("%s %v is less than %v", at, n, *s.Min)
	}
	if s.Max != nil && n > *s.Max {
		return fmt.Errorf("%s %v is more than %v", at, n, *s.Max)
	}
	return nil
}
