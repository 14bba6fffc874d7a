package discordtest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

// Limits of messages. Lengths count as Discord counts them: in characters of
// UTF-16 for embeds' sum and everything else alike.
// Source: https://docs.discord.com/developers/resources/message#create-message and #embed-object-embed-limits
const (
	maxContent     = 2000
	maxEmbeds      = 10
	maxEmbedTotal  = 6000 // over all embeds of a message
	maxTitle       = 256
	maxDescription = 4096
	maxFields      = 25
	maxFieldName   = 256
	maxFieldValue  = 1024
	maxFooter      = 2048
	maxAuthor      = 256
	maxNonce       = 25
	maxMentions    = 100 // of users or roles in allowed_mentions
)

// Limits of files.
// Source: https://docs.discord.com/developers/reference#uploading-files
const (
	maxFiles = 10
	maxFile  = 10 << 20
)

// Limits of components.
// Source: https://docs.discord.com/developers/components/reference
const (
	maxRows        = 5
	maxInRow       = 5
	maxLabel       = 80
	maxCustomID    = 100
	maxLink        = 512
	maxOptions     = 25
	maxOptionText  = 100
	maxPlaceholder = 150
	maxModalTitle  = 45
	maxInputLabel  = 45
	maxInputHint   = 100
	maxInputText   = 4000
	maxLabelHint   = 100
	maxThreadName  = 100
	maxChoices     = 25
	maxChoiceText  = 100
)

// mode is what a body is for.
type mode int

const (
	onCreate mode = iota
	onEdit
	onResponse // a callback or a followup
)

// length counts as JavaScript does, and so Discord.
func length(s string) int { return len(utf16.Encode([]rune(s))) }

func (bs *breaches) atMost(path []string, text string, most int) {
	if n := length(text); n > most {
		bs.add(path, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", most)
	}
}

func (bs *breaches) between(path []string, text string, least, most int) {
	if n := length(text); n < least || n > most {
		bs.add(path, "BASE_TYPE_BAD_LENGTH", "Must be between %d and %d in length.", least, most)
	}
}

// limitMessage checks the documented limits of a message. Its types were checked
// before.
func limitMessage(from obj, how mode, bs *breaches) {
	content, _ := from["content"].(string)
	bs.atMost([]string{"content"}, content, maxContent)
	limitEmbeds(into[[]Embed](from["embeds"]), bs)
	rows, _ := from["components"].([]any)
	limitComponents(rows, bs)
	limitMentions(from, bs)
	if how == onCreate {
		limitNonce(from, bs)
	}
	if files, _ := from["attachments"].([]any); len(files) > maxFiles {
		bs.add([]string{"attachments"}, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxFiles)
	}
}

func limitNonce(from obj, bs *breaches) {
	switch nonce := from["nonce"].(type) {
	case string:
		bs.atMost([]string{"nonce"}, nonce, maxNonce)
	case float64:
		if nonce != float64(int64(nonce)) {
			bs.add([]string{"nonce"}, "NUMBER_TYPE_COERCE", "Value %v is not int.", nonce)
		}
	default:
		if from["enforce_nonce"] == true {
			bs.odd([]string{"enforce_nonce"}, "there is no nonce to enforce")
		}
	}
}

func limitMentions(from obj, bs *breaches) {
	given, ok := from["allowed_mentions"].(map[string]any)
	if !ok {
		return
	}
	path := []string{"allowed_mentions"}
	parse := into[[]string](given["parse"])
	for _, kind := range []string{"users", "roles"} {
		ids := into[[]string](given[kind])
		if len(ids) > maxMentions {
			bs.add(at(path, kind), "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxMentions)
		}
		if len(ids) > 0 && slices.Contains(parse, kind) {
			bs.add(at(path, "parse"), "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", "parse:[%q] and %s: [ids...] are mutually exclusive.", kind, kind)
		}
		for i, id := range ids {
			if !isSnowflake(id) {
				bs.add(at(at(path, kind), i), "NUMBER_TYPE_COERCE", "Value %q is not snowflake.", id)
			}
		}
		if slices.ContainsFunc(ids, func(id string) bool { return count(ids, id) > 1 }) {
			bs.add(at(path, kind), "SET_TYPE_ALREADY_CONTAINS_VALUE", "The set already contains this value")
		}
	}
}

func count(list []string, one string) (n int) {
	for _, v := range list {
		if v == one {
			n++
		}
	}
	return n
}

var snowflake = regexp.MustCompile(`^[0-9]{1,20}$`)

func isSnowflake(s string) bool { return snowflake.MatchString(s) }

func limitEmbeds(embeds []Embed, bs *breaches) {
	if len(embeds) > maxEmbeds {
		bs.add([]string{"embeds"}, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxEmbeds)
	}
	total := 0
	for i, e := range embeds {
		path := []string{"embeds", fmt.Sprint(i)}
		bs.atMost(at(path, "title"), e.Title, maxTitle)
		bs.atMost(at(path, "description"), e.Description, maxDescription)
		total += length(e.Title) + length(e.Description)
		if e.Footer != nil {
			bs.between(at(at(path, "footer"), "text"), e.Footer.Text, 1, maxFooter)
			total += length(e.Footer.Text)
		}
		if e.Author != nil {
			bs.between(at(at(path, "author"), "name"), e.Author.Name, 1, maxAuthor)
			total += length(e.Author.Name)
		}
		if len(e.Fields) > maxFields {
			bs.add(at(path, "fields"), "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxFields)
		}
		for j, f := range e.Fields {
			field := at(at(path, "fields"), j)
			// A field without visible words is refused like an empty one.
			bs.between(at(field, "name"), strings.TrimSpace(f.Name), 1, maxFieldName)
			bs.between(at(field, "value"), strings.TrimSpace(f.Value), 1, maxFieldValue)
			total += length(f.Name) + length(f.Value)
		}
		limitEmbed(e, path, bs)
	}
	if total > maxEmbedTotal {
		bs.add([]string{"embeds"}, "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of %d", maxEmbedTotal)
	}
}

func limitEmbed(e Embed, path []string, bs *breaches) {
	if e.Color != nil && (*e.Color < 0 || *e.Color > 0xFFFFFF) {
		bs.add(at(path, "color"), "NUMBER_TYPE_MAX", "int value should be less than or equal to 16777215.")
	}
	if e.Timestamp != "" {
		if _, err := time.Parse(time.RFC3339, e.Timestamp); err != nil {
			bs.add(at(path, "timestamp"), "DATETIME_TYPE_PARSE", "Could not parse %s. Should be ISO8601.", e.Timestamp)
		}
	}
	links := map[string]string{"url": e.URL}
	if e.Image != nil {
		links["image"] = e.Image.URL
	}
	if e.Thumbnail != nil {
		links["thumbnail"] = e.Thumbnail.URL
	}
	for name, link := range links {
		u, err := url.Parse(link)
		if link != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" && (name == "url" || u.Scheme != "attachment") || len(link) > 2048) {
			bs.add(at(path, name), "URL_TYPE_INVALID_URL", "Not a well formed URL.")
		}
	}
	if e.Title == "" && e.Description == "" && len(e.Fields) == 0 && e.Author == nil && e.Footer == nil && e.Image == nil && e.Thumbnail == nil {
		bs.add(at(path, "description"), "BASE_TYPE_REQUIRED", "This field is required")
	}
}

func limitThread(from obj, bs *breaches) {
	name, _ := from["name"].(string)
	bs.between([]string{"name"}, strings.TrimSpace(name), 1, maxThreadName)
	if v, ok := from["auto_archive_duration"].(float64); ok && !slices.Contains([]float64{60, 1440, 4320, 10080}, v) {
		bs.add([]string{"auto_archive_duration"}, "BASE_TYPE_CHOICES", "Value must be one of {60, 1440, 4320, 10080}.")
	}
}

// limitChoices checks the suggestions of an autocomplete.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-autocomplete
func limitChoices(choices []Choice, kind int, path []string, bs *breaches) {
	if len(choices) > maxChoices {
		bs.add(path, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxChoices)
	}
	for i, c := range choices {
		here := at(path, i)
		bs.between(at(here, "name"), c.Name, 1, maxChoiceText)
		switch value := c.Value.(type) {
		case string:
			bs.between(at(here, "value"), value, 1, maxChoiceText)
			if kind != optionString {
				bs.add(at(here, "value"), "NUMBER_TYPE_COERCE", "Value %q is not int.", value)
			}
		case float64, json.Number:
			if kind == optionString {
				bs.add(at(here, "value"), "STRING_TYPE_CONVERT", "Could not interpret %v as string.", value)
			}
		}
	}
}
