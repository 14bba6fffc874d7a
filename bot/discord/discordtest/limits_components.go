package discordtest

import (
	"fmt"
	"net/url"
)

// limitComponents checks rows of buttons and menus. IDs must be unique in a
// message.
func limitComponents(rows []any, bs *breaches) {
	if len(rows) > maxRows {
		bs.add([]string{"components"}, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and %d in length.", maxRows)
	}
	seen := map[string]bool{}
	for i, v := range rows {
		row := into[Component](v)
		path := []string{"components", fmt.Sprint(i)}
		if row.Type != ComponentRow {
			bs.add(at(path, "type"), "BASE_TYPE_CHOICES", "Value must be one of {1}.")
			continue
		}
		path = at(path, "components")
		if n := len(row.Components); n < 1 || n > maxInRow {
			bs.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and %d in length.", maxInRow)
		}
		for j, c := range row.Components {
			here := at(path, j)
			switch c.Type {
			case ComponentButton:
				limitButton(c, here, bs)
			case ComponentSelect, 5, 6, 7, 8:
				if len(row.Components) > 1 {
					bs.add(here, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds the maximum width")
				}
				limitMenu(c, here, bs)
			default:
				bs.add(at(here, "type"), "BASE_TYPE_CHOICES", "Value must be one of {2, 3, 5, 6, 7, 8}.")
			}
			if c.CustomID != "" && seen[c.CustomID] {
				bs.add(at(here, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
			}
			seen[c.CustomID] = true
		}
	}
}

// limitButton checks one.
// Source: https://docs.discord.com/developers/components/reference#button
func limitButton(c Component, path []string, bs *breaches) {
	bs.atMost(at(path, "label"), c.Label, maxLabel)
	if c.Label == "" && c.Emoji == nil {
		bs.add(path, "BUTTON_COMPONENT_INVALID", "A button must have a label or an emoji")
	}
	switch {
	case c.Style == ButtonLink:
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "discord" || u.Host == "" {
			bs.add(at(path, "url"), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
		}
		bs.atMost(at(path, "url"), c.URL, maxLink)
		if c.CustomID != "" {
			bs.add(at(path, "custom_id"), "BUTTON_COMPONENT_CUSTOM_ID_AND_URL", "A custom id and url cannot both be specified")
		}
	case c.URL != "":
		bs.add(at(path, "url"), "BUTTON_COMPONENT_CUSTOM_ID_AND_URL", "A custom id and url cannot both be specified")
	default:
		bs.between(at(path, "custom_id"), c.CustomID, 1, maxCustomID)
	}
}

// limitMenu checks one.
// Source: https://docs.discord.com/developers/components/reference#string-select
func limitMenu(c Component, path []string, bs *breaches) {
	bs.between(at(path, "custom_id"), c.CustomID, 1, maxCustomID)
	bs.atMost(at(path, "placeholder"), c.Placeholder, maxPlaceholder)
	if c.Type != ComponentSelect {
		return
	}
	if n := len(c.Options); n < 1 || n > maxOptions {
		bs.add(at(path, "options"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and %d in length.", maxOptions)
	}
	seen := map[string]bool{}
	for i, o := range c.Options {
		here := at(at(path, "options"), i)
		bs.between(at(here, "label"), o.Label, 1, maxOptionText)
		bs.between(at(here, "value"), o.Value, 1, maxOptionText)
		bs.atMost(at(here, "description"), o.Description, maxOptionText)
		if seen[o.Value] {
			bs.add(at(here, "value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is already used")
		}
		seen[o.Value] = true
	}
}

// limitModal checks a modal.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-modal
func limitModal(data obj, bs *breaches) {
	title, _ := data["title"].(string)
	id, _ := data["custom_id"].(string)
	bs.between([]string{"data", "title"}, title, 1, maxModalTitle)
	bs.between([]string{"data", "custom_id"}, id, 1, maxCustomID)
	rows := into[[]Component](data["components"])
	path := []string{"data", "components"}
	if n := len(rows); n < 1 || n > maxRows {
		bs.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between 1 and %d in length.", maxRows)
	}
	seen := map[string]bool{}
	for i, row := range rows {
		here := at(path, i)
		var input Component
		switch {
		case row.Type == ComponentRow && len(row.Components) == 1:
			input, here = row.Components[0], at(at(here, "components"), 0)
			bs.between(at(here, "label"), input.Label, 1, maxInputLabel)
		case row.Type == ComponentLabel && row.Component != nil:
			bs.between(at(here, "label"), row.Label, 1, maxInputLabel)
			bs.atMost(at(here, "description"), row.Description, maxLabelHint)
			input, here = *row.Component, at(here, "component")
			if input.Label != "" {
				bs.add(at(here, "label"), "COMPONENT_LABEL_NOT_ALLOWED", "A text input in a label has no label of its own")
			}
		default:
			bs.add(here, "BASE_TYPE_BAD_LENGTH", "A modal holds labels with one component, or rows with one text input")
			continue
		}
		limitInput(input, here, bs)
		if seen[input.CustomID] {
			bs.add(at(here, "custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated")
		}
		seen[input.CustomID] = true
	}
}

// limitInput checks a text input.
// Source: https://docs.discord.com/developers/components/reference#text-input
func limitInput(c Component, path []string, bs *breaches) {
	bs.between(at(path, "custom_id"), c.CustomID, 1, maxCustomID)
	if c.Type != ComponentInput {
		bs.odd(at(path, "type"), "the stand-in shows text inputs alone in modals")
		return
	}
	bs.atMost(at(path, "placeholder"), c.Placeholder, maxInputHint)
	bs.atMost(at(path, "value"), c.Value, maxInputText)
	if c.Style != InputShort && c.Style != InputParagraph {
		bs.add(at(path, "style"), "BASE_TYPE_CHOICES", "Value must be one of {1, 2}.")
	}
	if c.MinLength != nil && (*c.MinLength < 0 || *c.MinLength > maxInputText) {
		bs.add(at(path, "min_length"), "NUMBER_TYPE_MAX", "int value should be between 0 and %d.", maxInputText)
	}
	if c.MaxLength != nil && (*c.MaxLength < 1 || *c.MaxLength > maxInputText) {
		bs.add(at(path, "max_length"), "NUMBER_TYPE_MAX", "int value should be between 1 and %d.", maxInputText)
	}
	if c.MinLength != nil && c.MaxLength != nil && *c.MinLength > *c.MaxLength {
		bs.add(at(path, "max_length"), "TEXT_INPUT_COMPONENT_MIN_GREATER_THAN_MAX", "Min length cannot be greater than max length")
	}
}
