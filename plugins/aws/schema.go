package aws

// text is the schema of a string.
func text(description string) map[string]any {
	return map[string]any{"type": "string", "minLength": 1, "description": description}
}

// choice is the schema of a string that is one of few.
func choice(description string, values ...string) map[string]any {
	all := make([]any, 0, len(values))
	for _, v := range values {
		all = append(all, v)
	}
	return map[string]any{"type": "string", "enum": all, "description": description}
}

// flag is the schema of a yes or no, which is no when it is left out.
func flag(description string) map[string]any {
	return map[string]any{"type": "boolean", "default": false, "description": description}
}

// number is the schema of a whole number.
func number(description string, least, most int) map[string]any {
	return map[string]any{"type": "integer", "minimum": least, "maximum": most, "description": description}
}

// list is the schema of a list of items.
func list(description string, items map[string]any) map[string]any {
	return map[string]any{"type": "array", "items": items, "description": description}
}

// texts is the schema of a map from names to what values are.
func texts(description string, values map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": values, "description": description}
}

// object is the schema of settings with these keys alone.
func object(description string, keys map[string]any, required ...string) map[string]any {
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": keys, "description": description}
	if len(required) > 0 {
		need := make([]any, 0, len(required))
		for _, r := range required {
			need = append(need, r)
		}
		out["required"] = need
	}
	return out
}

func retainSchema() map[string]any {
	return map[string]any{
		"type": "string", "pattern": `^(none|forever|[1-9][0-9]{0,3}[dh])$`,
		"description": "How long cleanup keeps the last snapshot of a database, and a secret: none, forever, or a time such as 7d or 36h.",
	}
}

func withSchema() map[string]any {
	keys := map[string]any{
		"region":  text("The AWS region; the settings' own when left out."),
		"account": text("One of the settings' accounts."),
		"role":    text("The ARN of the role of one of the settings' accounts, in place of `account`."),
		"retain":  retainSchema(),
		"tags":    texts("Tags beside Berth's own.", map[string]any{"type": "string"}),
		"timeout": text("How long a step waits for AWS, such as 90m."),
	}
	for _, k := range kinds() {
		keys[k.name] = k.schema
	}
	return object("What a part asks AWS for: one key for each kind.", keys)
}

func settingsSchema() map[string]any {
	regions := list("Further regions that parts may name.", text("A region."))
	return object("What the aws executor is set up with.", map[string]any{
		"region": text("The region of parts that name none."), "regions": regions,
		"role": text("The ARN of a role to take; without it the executor's own credentials are used."), "external_id": text("The role's external ID."),
		"accounts": texts("Accounts that parts may name.", object("An account.", map[string]any{
			"role": text("The ARN of the role to take."), "external_id": text("The role's external ID."),
			"region": text("The account's region; the settings' when left out."), "regions": regions,
		})),
		"kinds":                list("The kinds that parts may use; all when left out. The executor needs the right to list each.", text("A kind.")),
		"retain":               retainSchema(),
		"tags":                 texts("Tags that everything gets beside Berth's own.", map[string]any{"type": "string"}),
		"capabilities":         list("What templates of CloudFormation stacks may ask for; nothing when left out.", choice("A capability.", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")),
		"permissions_boundary": text("The ARN of the permissions boundary that every IAM role gets."),
		"endpoint":             text("An address that stands in for all of AWS, for tests."),
		"poll":                 text("The first pause between two looks at what AWS is doing, such as 5s."),
	})
}
