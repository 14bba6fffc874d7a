package sdk

import "fmt"

// SecretSchema is the JSON Schema of a secret's reference in settings, for an
// executor to put into its own schemas: {env: NAME}, {file: PATH} or
// {kubernetes: {namespace, name, key}}, the forms of the config's own secrets.
func SecretSchema() map[string]any {
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": description}
	}
	only := func(key string, value map[string]any) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": false, "required": []any{key}, "properties": map[string]any{key: value}}
	}
	return map[string]any{
		"description": "Where the executor finds a value that nobody else may see.",
		"oneOf": []any{
			only("env", text("A variable of the executor's own environment; `env` of its section under `plugins` must name it.")),
			only("file", text("A file that the executor can read.")),
			only("kubernetes", map[string]any{
				"type": "object", "additionalProperties": false, "required": []any{"name", "key"},
				"properties": map[string]any{
					"namespace": text("The environment's own when left out."),
					"name":      text("Of the Secret."), "key": text("In it."),
				},
			}),
		},
	}
}

// SecretOf is the reference that a value of With or Settings holds, in the form
// of SecretSchema; name is what to call it in messages: "the TSIG key of
// example.org". Secrets.Value looks it up. It returns Invalid for anything else,
// a value that is written out above all, and never repeats it.
func SecretOf(v any, name string) (SecretRef, error) {
	ref := SecretRef{Name: name}
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return SecretRef{}, badSecret(name)
	}
	for key, value := range m {
		switch key {
		case "env":
			ref.Env, ok = value.(string)
			ok = ok && ref.Env != ""
		case "file":
			ref.File, ok = value.(string)
			ok = ok && ref.File != ""
		case "kubernetes":
			ref.SecretNamespace, ref.SecretName, ref.SecretKey, ok = secretKey(value)
		default:
			ok = false
		}
	}
	if !ok {
		return SecretRef{}, badSecret(name)
	}
	return ref, nil
}

func secretKey(v any) (namespace, name, key string, ok bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", "", "", false
	}
	for field, value := range m {
		text, isText := value.(string)
		if !isText {
			return "", "", "", false
		}
		switch field {
		case "namespace":
			namespace = text
		case "name":
			name = text
		case "key":
			key = text
		default:
			return "", "", "", false
		}
	}
	return namespace, name, key, name != "" && key != ""
}

func badSecret(name string) error {
	return Invalid("%s is a secret, and is not written out but referred to: {env: NAME}, {file: PATH} or {kubernetes: {name: NAME, key: KEY}}.", capital(shown(name)))
}

func capital(s string) string {
	if s == "" {
		return "It"
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		return fmt.Sprintf("%c%s", c-'a'+'A', s[1:])
	}
	return s
}
