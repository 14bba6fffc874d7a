package script

import "github.com/berth-dev/berth/plugins/sdk"

func text(about string) map[string]any {
	return map[string]any{"type": "string", "description": about}
}

func flag(about string) map[string]any {
	return map[string]any{"type": "boolean", "description": about, "default": false}
}

func length(about, def string) map[string]any {
	return map[string]any{"type": "string", "description": about, "default": def, "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
}

// textOrSecret is a value, or where the executor finds one that nobody may see.
func textOrSecret(more ...any) map[string]any {
	return map[string]any{"oneOf": append([]any{map[string]any{"type": []any{"string", "number", "boolean"}}, sdk.SecretSchema()}, more...)}
}

func mapOf(about string, value map[string]any) map[string]any {
	return map[string]any{"type": "object", "description": about, "additionalProperties": value}
}

func program(about string) map[string]any {
	return map[string]any{"type": "array", "minItems": 1, "description": about + ": the program, then each of its arguments", "items": textOrSecret()}
}

// withSchema is the JSON Schema of a part's `with`.
func withSchema() map[string]any {
	configs := mapOf("values by key; null takes a default away", textOrSecret(map[string]any{"type": "null"}))
	files := map[string]any{}
	times := map[string]any{}
	for name := range octopodScripts {
		files[name], times[name] = text("its file, in dir"), length("how long it may take", "30m")
	}
	props := map[string]any{
		"contract":        map[string]any{"enum": []any{contractRun, contractV1, contractV2}, "description": "run: the executor's own; v1, v2: Octopod's control scripts"},
		"dir":             text("folder with the scripts: a path, or repo:PATH in the app's repository"),
		"env":             mapOf("variables for the scripts", textOrSecret()),
		"vars":            map[string]any{"type": "array", "description": "the app's variables that scripts get under their own names, beside BERTH_VAR_NAME", "items": map[string]any{"type": "string"}},
		"kubeconfig":      flag("give the scripts KUBECONFIG, the way into the app's cluster"),
		"timeout":         length("how long a script may take", "30m"),
		"grace":           length("how long a script that is stopped may take to end, before it is killed", "10s"),
		"pending_timeout": length("how long a check may take to become good", "10m"),
		"poll":            length("pause between two checks", "5s"),

		"commands":          map[string]any{"type": "object", "additionalProperties": false, "description": "files of Octopod's scripts that have other names", "properties": files},
		"project":           text("--project-name"),
		"base_domain":       text("--base-domain"),
		"namespace":         text("--namespace; by default the environment's"),
		"name":              text("--name; by default the environment's"),
		"tag":               text("--tag, in v1; by default the commit"),
		"deployment_prefix": map[string]any{"type": "string", "default": defaultPrefix, "description": "keys of --set that begin so are deployment overrides"},
		"plan_asks":         flag("let a plan run the scripts that only ask: *_overrides and config_check"),
		"overrides": map[string]any{"type": "object", "additionalProperties": false, "description": "Octopod's overrides",
			"properties": map[string]any{"app": configs, "deployment": configs}},
	}
	for _, name := range runPrograms {
		props[name], times[name] = program(name), length("how long it may take", "30m")
	}
	props["timeouts"] = map[string]any{"type": "object", "additionalProperties": false, "description": "how long single scripts may take", "properties": times}
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
		"required": []any{"contract"}, "properties": props,
	}
}

// settingsSchema is the JSON Schema of the executor's own settings.
func settingsSchema() map[string]any {
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"data_dir": map[string]any{"type": "string", "default": defaultDataDir, "description": "folder for what the executor remembers and for scripts' working directories; replicas share it"},
			"path":     text("PATH of the scripts; by default the executor's own"),
			"env":      mapOf("variables for the scripts of every app", textOrSecret()),
		},
	}
}
