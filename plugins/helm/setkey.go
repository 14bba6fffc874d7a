package helm

import (
	"strconv"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Limits of a key of --set. They are far above what charts use and keep a key
// from growing the values without bound.
const (
	maxKeyLength = 512
	maxKeyDepth  = 32
	maxListIndex = 1000
)

// hop is one step of a path into values: a name, or a place in a list.
type hop struct {
	name  string
	index int // -1 for a name
}

// parseKey reads a dotted key: "image.tag", "hosts[0].name",
// `annotations.example\.org/role`. A backslash makes the next character part of
// the name. Only the key is a little language; a value never is.
func parseKey(key string) ([]hop, error) {
	if key == "" || len(key) > maxKeyLength {
		return nil, sdk.Invalid("%q cannot be set: a key has 1 to %d characters.", kube.Clip(key, 60), maxKeyLength)
	}
	wrong := func(why string) error {
		return sdk.Invalid("%q cannot be set: %s. Write keys as image.tag or hosts[0].name.", kube.Clip(key, 60), why)
	}
	var path []hop
	var name strings.Builder
	named, afterIndex := false, false
	flush := func() bool {
		if !named {
			return afterIndex
		}
		path = append(path, hop{name: name.String(), index: -1})
		name.Reset()
		named, afterIndex = false, false
		return true
	}
	for i := 0; i < len(key); i++ {
		c := key[i]
		switch {
		case c == '.':
			if !flush() || i == len(key)-1 {
				return nil, wrong("a name between two dots is missing")
			}
			afterIndex = false
		case c == '[':
			if !flush() {
				return nil, wrong("a list needs a name")
			}
			end := strings.IndexByte(key[i:], ']')
			if end < 0 {
				return nil, wrong("a \"[\" has no \"]\"")
			}
			n, err := strconv.Atoi(key[i+1 : i+end])
			if err != nil || n < 0 || n > maxListIndex || key[i+1] == '+' {
				return nil, wrong("a place in a list is a number from 0 to " + strconv.Itoa(maxListIndex))
			}
			path = append(path, hop{index: n})
			afterIndex = true
			i += end
		case afterIndex:
			return nil, wrong("after \"]\" comes a dot")
		case c == '\\':
			i++
			if i == len(key) {
				return nil, wrong("it ends in a backslash")
			}
			if key[i] != '.' && key[i] != '[' && key[i] != ']' && key[i] != '\\' {
				return nil, wrong("a backslash stands only before a dot, a bracket or a backslash")
			}
			name.WriteByte(key[i])
			named = true
		case !plainInKey(c):
			return nil, wrong("it has a character that no key has")
		default:
			name.WriteByte(c)
			named = true
		}
	}
	if !flush() {
		return nil, wrong("it ends without a name")
	}
	if len(path) > maxKeyDepth {
		return nil, wrong("it is too deep")
	}
	return path, nil
}

func plainInKey(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '/'
}

// place puts text at path. node is what the layer that is written to has there,
// current what is in force: that layer over the chart's defaults.
func place(node, current any, path []hop, key, text string) (any, error) {
	if len(path) == 0 {
		switch current.(type) {
		case map[string]any:
			return nil, sdk.Invalid("%q cannot be set: it is a group of settings, so name one inside it.", kube.Clip(key, 60))
		case []any:
			return nil, sdk.Invalid("%q cannot be set: it is a list, so name a place in it, such as %s[0].", kube.Clip(key, 60), kube.Clip(key, 60))
		}
		return typed(text, current), nil
	}
	if path[0].index < 0 {
		return placeInMap(node, current, path, key, text)
	}
	return placeInList(node, current, path, key, text)
}

func placeInMap(node, current any, path []hop, key, text string) (any, error) {
	below, ok := current.(map[string]any)
	if !ok && current != nil {
		return nil, sdk.Invalid("%q cannot be set: %q is a single value, not a group of settings.", kube.Clip(key, 60), path[0].name)
	}
	own, _ := node.(map[string]any)
	if own == nil {
		own = map[string]any{}
	}
	value, err := place(own[path[0].name], below[path[0].name], path[1:], key, text)
	if err != nil {
		return nil, err
	}
	own[path[0].name] = value
	return own, nil
}

// placeInList copies the list in force, since a layer replaces lists whole.
func placeInList(node, current any, path []hop, key, text string) (any, error) {
	below, ok := current.([]any)
	if !ok && current != nil {
		return nil, sdk.Invalid("%q cannot be set: there is no list at that place.", kube.Clip(key, 60))
	}
	own, ok := node.([]any)
	if !ok {
		own, _ = kube.CopyValue(below).([]any)
	}
	i := path[0].index
	if i > len(own) {
		return nil, sdk.Invalid("%q cannot be set: the list has %d entries, so the next place is [%d].", kube.Clip(key, 60), len(own), len(own))
	}
	if i == len(own) {
		own = append(own, nil)
	}
	value, err := place(own[i], own[i], path[1:], key, text)
	if err != nil {
		return nil, err
	}
	own[i] = value
	return own, nil
}

// typed gives text the type that the chart has at its place. Where the chart
// says nothing, true, false and whole numbers become what they look like, as
// with Helm's --set; everything else, and any text where the chart has text
// (a tag of digits alone, say), stays text.
func typed(text string, current any) any {
	if _, ok := current.(string); ok {
		return text
	}
	if strings.EqualFold(text, "true") {
		return true
	}
	if strings.EqualFold(text, "false") {
		return false
	}
	if text == "0" {
		return int64(0)
	}
	if text != "" && text[0] != '0' && text[0] != '+' {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
			return n
		}
	}
	return text
}
