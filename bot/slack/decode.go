package slack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The decoders take what Slack sends and Berth needs. They are stricter than
// Slack about ids, which become parts of keys, and take whatever else is there:
// Slack adds fields at any time.

// errMalformed is what all that cannot have come from Slack is.
var errMalformed = errors.New("malformed")

// maxName is how much of an account's shown name is kept, in bytes. It decides
// nothing.
const maxName = 80

// typed is a slash command.
// Source: https://docs.slack.dev/interactivity/implementing-slash-commands#app_command_handling
type typed struct {
	probe      bool // Slack looks whether the certificate is good
	team       string
	enterprise string
	channel    string
	user       string
	name       string
	text       string
	response   string
	trigger    string
}

// decodeForm reads the body of a slash command.
func decodeForm(body []byte) (typed, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return typed{}, errMalformed
	}
	if form.Get("ssl_check") == "1" {
		return typed{probe: true}, nil
	}
	return typed{
		team: form.Get("team_id"), enterprise: form.Get("enterprise_id"), channel: form.Get("channel_id"), user: form.Get("user_id"),
		name: form.Get("user_name"), text: form.Get("text"), response: form.Get("response_url"), trigger: form.Get("trigger_id"),
	}.checked()
}

// decodeTyped reads a slash command as Socket Mode has it.
func decodeTyped(payload []byte) (typed, error) {
	var p struct {
		TeamID       string `json:"team_id"`
		EnterpriseID string `json:"enterprise_id"`
		ChannelID    string `json:"channel_id"`
		UserID       string `json:"user_id"`
		UserName     string `json:"user_name"`
		Text         string `json:"text"`
		ResponseURL  string `json:"response_url"`
		TriggerID    string `json:"trigger_id"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return typed{}, errMalformed
	}
	return typed{
		team: p.TeamID, enterprise: p.EnterpriseID, channel: p.ChannelID, user: p.UserID,
		name: p.UserName, text: p.Text, response: p.ResponseURL, trigger: p.TriggerID,
	}.checked()
}

func (t typed) checked() (typed, error) {
	t.team = first(t.team, t.enterprise)
	if !optional(t.team) || !idPattern.MatchString(t.channel) || !idPattern.MatchString(t.user) || !utf8.ValidString(t.text) {
		return typed{}, errMalformed
	}
	return t, nil
}

// interaction is somebody's use of a button, window, menu or shortcut.
// Source: https://docs.slack.dev/reference/interaction-payloads
type interaction struct {
	Type       string   `json:"type"`
	Team       *teamRef `json:"team"`
	Enterprise *teamRef `json:"enterprise"`
	User       struct {
		ID       string `json:"id"`
		TeamID   string `json:"team_id"`
		Username string `json:"username"`
		Name     string `json:"name"`
	} `json:"user"`
	Channel struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"channel"`
	Container struct {
		Type      string `json:"type"`
		MessageTS string `json:"message_ts"`
		ThreadTS  string `json:"thread_ts"`
		ChannelID string `json:"channel_id"`
	} `json:"container"`
	Message      said     `json:"message"`
	View         *view    `json:"view"`
	Actions      []action `json:"actions"`
	ResponseURL  string   `json:"response_url"`
	ResponseURLs []struct {
		ChannelID   string `json:"channel_id"`
		ResponseURL string `json:"response_url"`
	} `json:"response_urls"`
	TriggerID  string `json:"trigger_id"`
	CallbackID string `json:"callback_id"`
	ActionTS   string `json:"action_ts"`
	// Of a menu that asks for its options:
	ActionID string `json:"action_id"`
	Value    string `json:"value"`
}

type teamRef struct {
	ID string `json:"id"`
}

// said is a message.
type said struct {
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	Team        string `json:"team"`
	Text        string `json:"text"`
	Attachments []struct {
		Text      string `json:"text"`
		Title     string `json:"title"`
		TitleLink string `json:"title_link"`
		FromURL   string `json:"from_url"`
		Fallback  string `json:"fallback"`
	} `json:"attachments"`
}

// view is a window, or somebody's own page.
type view struct {
	ID              string `json:"id"`
	Type            string `json:"type"` // "modal", "home"
	Hash            string `json:"hash"`
	CallbackID      string `json:"callback_id"`
	PrivateMetadata string `json:"private_metadata"`
	TeamID          string `json:"team_id"`
	InstalledIn     string `json:"app_installed_team_id"`
	State           struct {
		Values map[string]map[string]input `json:"values"`
	} `json:"state"`
}

// input is what one field of a window holds.
type input struct {
	Value          string  `json:"value"`
	Selected       *option `json:"selected_option"`
	SelectedTarget string  `json:"selected_conversation"`
}

type option struct {
	Value string `json:"value"`
}

// action is what was clicked on.
type action struct {
	ActionID string `json:"action_id"`
	BlockID  string `json:"block_id"`
	Type     string `json:"type"`
	Value    string `json:"value"`
	ActionTS string `json:"action_ts"`
	Text     struct {
		Text string `json:"text"`
	} `json:"text"`
}

// decodeInteraction reads the form that an interaction comes in.
func decodeInteractionForm(body []byte) (*interaction, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errMalformed
	}
	if len(form["payload"]) != 1 {
		return nil, errMalformed
	}
	return decodeInteraction([]byte(form.Get("payload")))
}

// decodeInteraction reads an interaction, as Socket Mode has it.
func decodeInteraction(payload []byte) (*interaction, error) {
	in := new(interaction)
	if err := json.Unmarshal(payload, in); err != nil {
		return nil, errMalformed
	}
	switch {
	case in.Type == "", !idPattern.MatchString(in.User.ID),
		!optional(in.User.TeamID), !optional(in.Channel.ID), !optional(in.Container.ChannelID), !optional(in.Message.Team),
		!stamped(in.Message.TS), !stamped(in.Message.ThreadTS), !stamped(in.Container.MessageTS), !stamped(in.Container.ThreadTS),
		in.Team != nil && !optional(in.Team.ID), in.Enterprise != nil && !optional(in.Enterprise.ID),
		in.View != nil && (!optional(in.View.ID) || !optional(in.View.TeamID) || !optional(in.View.InstalledIn)):
		return nil, errMalformed
	}
	for _, r := range in.ResponseURLs {
		if !optional(r.ChannelID) {
			return nil, errMalformed
		}
	}
	return in, nil
}

// teams are those that the interaction may have been done in, the likeliest
// first. In a shared channel Slack names the clicking account's own as well.
func (in *interaction) teams() []string {
	var teams []string
	if in.View != nil {
		teams = append(teams, in.View.InstalledIn)
	}
	if in.Team != nil {
		teams = append(teams, in.Team.ID)
	}
	teams = append(teams, in.Message.Team)
	if in.Enterprise != nil {
		teams = append(teams, in.Enterprise.ID)
	}
	teams = append(teams, in.User.TeamID)
	if in.View != nil {
		teams = append(teams, in.View.TeamID)
	}
	return teams
}

// name is what the account is shown as.
func (in *interaction) name() string {
	if in.User.Username != "" {
		return shortName(in.User.Username)
	}
	return shortName(in.User.Name)
}

// envelope is what wraps an event.
// Source: https://docs.slack.dev/apis/events-api/#callback-field
type envelope struct {
	Type           string          `json:"type"`
	Challenge      string          `json:"challenge"`
	TeamID         string          `json:"team_id"`
	EnterpriseID   string          `json:"enterprise_id"`
	EventID        string          `json:"event_id"`
	Authorizations []authorization `json:"authorizations"`
	Event          event           `json:"event"`
}

// authorization is an installation of the app that an event is for.
type authorization struct {
	TeamID string `json:"team_id"`
	UserID string `json:"user_id"`
	IsBot  bool   `json:"is_bot"`
}

// event is one that Berth subscribes to.
type event struct {
	Type        string `json:"type"`
	Subtype     string `json:"subtype"`
	User        string `json:"user"`
	BotID       string `json:"bot_id"`
	Team        string `json:"team"`
	UserTeam    string `json:"user_team"`
	SourceTeam  string `json:"source_team"`
	Channel     string `json:"channel"`
	ChannelType string `json:"channel_type"`
	Text        string `json:"text"`
	TS          string `json:"ts"`
	ThreadTS    string `json:"thread_ts"`
	EventTS     string `json:"event_ts"`
	// Edited is there when the message was changed before the event was sent.
	Edited    json.RawMessage `json:"edited"`
	Tab       string          `json:"tab"`
	MessageTS string          `json:"message_ts"`
	Source    string          `json:"source"`
	Links     []struct {
		URL string `json:"url"`
	} `json:"links"`
}

// UnmarshalJSON reads the fields of the types of events that Berth looks at, and
// of others the type alone: they may have other things under the same names.
func (e *event) UnmarshalJSON(data []byte) error {
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return err
	}
	type plain event
	switch kind.Type {
	case eventMention, eventMessage, eventHome, eventLinks:
		return json.Unmarshal(data, (*plain)(e))
	}
	e.Type = kind.Type
	return nil
}

// decodeEvent reads what comes in at /slack/events.
func decodeEvent(body []byte) (*envelope, error) {
	en := new(envelope)
	if err := json.Unmarshal(body, en); err != nil {
		return nil, errMalformed
	}
	e := en.Event
	switch {
	case en.Type == "", !optional(en.TeamID), !optional(en.EnterpriseID), !optional(e.User), !optional(e.Team), !optional(e.UserTeam), !optional(e.SourceTeam),
		!optional(e.Channel), !stamped(e.TS), !stamped(e.ThreadTS), !stamped(e.EventTS), !utf8.ValidString(e.Text):
		return nil, errMalformed
	case en.Type == "event_callback" && (en.EventID != "" && !wordy(en.EventID) || e.Type == ""):
		return nil, errMalformed
	case en.EventID == "":
		// What has no id is told from others by what it is about and when that was.
		en.EventID = idOf("event", en.TeamID, e.Type, e.Channel, e.User, first(e.TS, e.EventTS, e.MessageTS), e.Text)
	}
	return en, nil
}

// optional tells whether s is an id, or nothing.
func optional(s string) bool { return s == "" || idPattern.MatchString(s) }

// stamped tells whether s is the timestamp of a message, or nothing.
func stamped(s string) bool {
	return len(s) <= 32 && strings.Trim(s, "0123456789.") == ""
}

// wordy tells whether s can be an id of any kind.
func wordy(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) < 0
}

// stampTime is when a timestamp of Slack's is, and zero for none.
func stampTime(ts string) time.Time {
	seconds, fraction, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || s <= 0 || s > 1<<40 {
		return time.Time{}
	}
	fraction = (fraction + "000000")[:6]
	micros, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(s, micros*1000).UTC()
}

// longestDelay is how long after it was done something may arrive: Slack delivers
// events again for a day where an app asks for that. What says that it is older
// was not done then.
// Source: https://docs.slack.dev/apis/events-api/#delayed-events
const longestDelay = 25 * time.Hour

// doneAt is when something was done that arrived at a time, by its timestamp
// where that can be.
func doneAt(ts string, arrived time.Time) time.Time {
	if done := stampTime(ts); !done.IsZero() && done.Before(arrived) && arrived.Sub(done) <= longestDelay {
		return done
	}
	return arrived
}

// shortName is a shown name that is not too long to keep.
func shortName(s string) string {
	s = oneLine(strings.ToValidUTF8(s, ""))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

// idOf is an id for what has none of its own: the same for the same parts.
func idOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}
