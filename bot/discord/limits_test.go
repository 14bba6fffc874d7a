package discord

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
)

// sentPayload is a message as Discord gets it, read back from its JSON.
type sentPayload struct {
	Content         string      `json:"content"`
	Embeds          []sentEmbed `json:"embeds"`
	Components      []sentRow   `json:"components"`
	AllowedMentions *struct {
		Parse       *[]string `json:"parse"`
		Users       []string  `json:"users"`
		Roles       []string  `json:"roles"`
		RepliedUser bool      `json:"replied_user"`
	} `json:"allowed_mentions"`
	Attachments []struct {
		ID       int    `json:"id"`
		Filename string `json:"filename"`
	} `json:"attachments"`
	Flags        int    `json:"flags"`
	Nonce        string `json:"nonce"`
	EnforceNonce bool   `json:"enforce_nonce"`
	Reference    *struct {
		MessageID       string `json:"message_id"`
		ChannelID       string `json:"channel_id"`
		FailIfNotExists *bool  `json:"fail_if_not_exists"`
	} `json:"message_reference"`
}

type sentEmbed struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Color       int    `json:"color"`
	Timestamp   string `json:"timestamp"`
	Footer      *struct {
		Text string `json:"text"`
	} `json:"footer"`
	Fields []struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Inline bool   `json:"inline"`
	} `json:"fields"`
}

type sentRow struct {
	Type       int `json:"type"`
	Components []struct {
		Type     int    `json:"type"`
		Style    int    `json:"style"`
		Label    string `json:"label"`
		CustomID string `json:"custom_id"`
		URL      string `json:"url"`
		Disabled bool   `json:"disabled"`
	} `json:"components"`
}

// long is the length of a text, as Discord's clients count it.
func long(s string) int { return len(utf16.Encode([]rune(s))) }

// asSent is a payload as Discord gets it. Unknown fields are a fault.
func asSent(t testing.TB, p *payload) sentPayload {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var sent sentPayload
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&sent); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return sent
}

// breaches are all of Discord's documented limits that a message breaks.
// Sources: https://docs.discord.com/developers/resources/message#create-message-jsonform-params,
// https://docs.discord.com/developers/resources/message#embed-object-embed-limits,
// https://docs.discord.com/developers/resources/message#allowed-mentions-object,
// https://docs.discord.com/developers/components/reference#action-row,
// https://docs.discord.com/developers/components/reference#button-button-structure
func breaches(p sentPayload) []string {
	var found []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	check(long(p.Content) <= 2000, "content has %d characters", long(p.Content))
	check(len(p.Embeds) <= 10, "%d embeds", len(p.Embeds))
	check(strings.TrimSpace(p.Content) != "" || len(p.Embeds) > 0 || len(p.Attachments) > 0, "an empty message")
	check(p.AllowedMentions != nil && p.AllowedMentions.Parse != nil && len(*p.AllowedMentions.Parse) == 0, "mentions are not limited")
	if p.AllowedMentions != nil {
		check(len(p.AllowedMentions.Users) <= 100 && len(p.AllowedMentions.Roles) <= 100 && !p.AllowedMentions.RepliedUser, "too many may be called")
	}
	check(long(p.Nonce) <= 25, "nonce %q", p.Nonce)
	all := 0
	for i, e := range p.Embeds {
		sum := long(e.Title) + long(e.Description)
		check(long(e.Title) <= 256, "title %d has %d characters", i, long(e.Title))
		check(long(e.Description) <= 4096, "description %d has %d characters", i, long(e.Description))
		check(len(e.Fields) <= 25, "embed %d has %d fields", i, len(e.Fields))
		for _, f := range e.Fields {
			check(strings.TrimSpace(f.Name) != "" && long(f.Name) <= 256, "a field's name has %d characters", long(f.Name))
			check(strings.TrimSpace(f.Value) != "" && long(f.Value) <= 1024, "field %q has %d characters", f.Name, long(f.Value))
			sum += long(f.Name) + long(f.Value)
		}
		if e.Footer != nil {
			check(strings.TrimSpace(e.Footer.Text) != "" && long(e.Footer.Text) <= 2048, "a footer has %d characters", long(e.Footer.Text))
			sum += long(e.Footer.Text)
		}
		check(sum > 0, "embed %d is empty", i)
		all += sum
	}
	check(all <= 6000, "embeds have %d characters", all)
	check(len(p.Components) <= 5, "%d rows", len(p.Components))
	seen := map[string]bool{}
	for _, row := range p.Components {
		check(row.Type == 1 && len(row.Components) >= 1 && len(row.Components) <= 5, "a row of type %d with %d buttons", row.Type, len(row.Components))
		for _, b := range row.Components {
			check(b.Type == 2 && b.Label != "" && long(b.Label) <= 80, "label %q", b.Label)
			if b.Style == 5 {
				u, err := url.Parse(b.URL)
				check(err == nil && (u.Scheme == "https" || u.Scheme == "http") && long(b.URL) <= 512 && b.CustomID == "", "link %q", b.URL)
				continue
			}
			check(b.Style >= 1 && b.Style <= 4 && b.URL == "", "style %d", b.Style)
			check(b.CustomID != "" && long(b.CustomID) <= 100 && !seen[b.CustomID], "custom_id %q", b.CustomID)
			seen[b.CustomID] = true
		}
	}
	return found
}

// What Discord's clients read into text, where no backslash is before it.
// Source: https://docs.discord.com/developers/reference#message-formatting-formats
var active = map[string]*regexp.Regexp{
	"a mention":   regexp.MustCompile(`^<(@[!&]?|#|/[^>]*:|a?:\w+:|t:|id:)[^>]*>`),
	"everyone":    regexp.MustCompile(`^@(everyone|here)`),
	"an emoji":    regexp.MustCompile(`^:[\w+-]+:`),
	"a bare link": regexp.MustCompile(`^(https?|discord|ftp|steam)://`),
	"a mask":      regexp.MustCompile(`^\]\(`),
}

// markup is what Discord's clients would make of text: the names in active, and
// the addresses that are linked to. It reads code and backslashes as they do.
func markup(s string) (names, links []string) {
	for i := 0; i < len(s); {
		rest := s[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			i += 2
			continue
		case rest[0] == '`':
			i += codeLength(rest)
			continue
		case strings.HasPrefix(rest, "<http"):
			if end := strings.IndexByte(rest, '>'); end > 0 && !strings.ContainsAny(rest[:end], " \n") {
				links = append(links, rest[1:end])
				i += end + 1
				continue
			}
		case strings.HasPrefix(rest, "](<http"): // what follows is the link itself
			i += 2
			continue
		}
		for name, what := range active {
			if what.MatchString(rest) {
				names = append(names, name+" in "+rest[:min(len(rest), 40)])
			}
		}
		i++
	}
	return names, links
}

// texts are all texts of a message in which Discord looks for markup.
func (p sentPayload) texts() []string {
	all := []string{p.Content}
	for _, e := range p.Embeds {
		all = append(all, e.Title, e.Description)
		for _, f := range e.Fields {
			all = append(all, f.Name, f.Value)
		}
	}
	return all
}
