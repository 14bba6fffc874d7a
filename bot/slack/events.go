package slack

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot"
)

// The events that Berth looks at.
// Source: https://docs.slack.dev/reference/events
const (
	eventMention   = "app_mention"
	eventMessage   = "message"
	eventHome      = "app_home_opened"
	eventLinks     = "link_shared"
	eventUninstall = "app_uninstalled"
	eventRevoked   = "tokens_revoked"
)

// maxLinks is how many links of one message are looked up.
const maxLinks = 10

// challenge proves to Slack that this address is ours.
// Source: https://docs.slack.dev/reference/events/url_verification
type challenge struct {
	Challenge string `json:"challenge"`
}

// eventBody is what came in at /slack/events.
func (s *Surface) eventBody(ctx context.Context, signed time.Time, body []byte) reply {
	en, err := decodeEvent(body)
	if err != nil {
		return malformed
	}
	return s.event(ctx, s.when(signed), en)
}

// eventEnvelope is an event that came by Socket Mode.
func (s *Surface) eventEnvelope(ctx context.Context, payload []byte) reply {
	en, err := decodeEvent(payload)
	if err != nil {
		return malformed
	}
	return s.event(ctx, s.now(), en)
}

// event takes an event. Slack delivers again what is not acknowledged, under
// the same id, so that nothing is held here.
func (s *Surface) event(ctx context.Context, at time.Time, en *envelope) reply {
	switch en.Type {
	case "url_verification":
		return reply{status: ok.status, body: challenge{Challenge: en.Challenge}}
	case "app_rate_limited":
		s.log.ErrorContext(ctx, "Slack holds back events: this app gets more than 30,000 an hour", "team", en.TeamID)
		return ok
	case "event_callback":
	default:
		return ok
	}
	a, wanted := s.arrived(ctx, at, en)
	if !wanted {
		return ok
	}
	teams := []string{en.TeamID}
	for _, auth := range en.Authorizations {
		if optional(auth.TeamID) {
			teams = append(teams, auth.TeamID)
		}
	}
	if !s.serves(ctx, &a, append(teams, en.EnterpriseID)...) {
		return ok
	}
	if s.take(ctx, &a, false, false) != stored {
		return unavailable
	}
	return ok
}

// arrived is what an event means, if it means anything to Berth.
func (s *Surface) arrived(ctx context.Context, at time.Time, en *envelope) (arrival, bool) {
	e := &en.Event
	a := arrival{team: first(e.UserTeam, e.SourceTeam, e.Team, en.TeamID, en.EnterpriseID), ChatEvent: bot.ChatEvent{
		ID: en.EventID, User: e.User, At: at,
		Place: bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: en.TeamID, Channel: e.Channel, Thread: e.ThreadTS},
	}}
	a.At = doneAt(first(e.TS, e.EventTS), at)
	self := s.selfOf(en)
	switch e.Type {
	case eventMention, eventMessage:
		if !spoken(e, self) {
			return arrival{}, false
		}
		a.Kind, a.Message, a.Private = bot.ChatCommand, e.TS, direct(e.Channel)
		if a.Line = mentionText(e.Text, self); e.Type == eventMessage {
			a.Line = directText(e.Text, self)
		}
		return a, true
	case eventHome:
		a.Kind, a.Place = bot.ChatHome, bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: en.TeamID, User: e.User}
		return a, e.Tab == "home" && e.User != ""
	case eventLinks:
		a.Kind, a.Message = bot.ChatLinks, e.MessageTS
		for _, link := range e.Links {
			if s.ours(link.URL) && len(a.Links) < maxLinks {
				a.Links = append(a.Links, link.URL)
			}
		}
		// What is still being written has no message yet; Slack sends the event once
		// more when it has.
		return a, len(a.Links) > 0 && e.User != "" && e.User != self && e.Source != "composer" && e.Channel != "" && stamped(e.MessageTS) && e.MessageTS != ""
	case eventUninstall, eventRevoked:
		s.log.WarnContext(ctx, "Berth was taken out of a Slack workspace, or its tokens were revoked there", "team", en.TeamID, "event", e.Type)
	}
	return arrival{}, false
}

// spoken tells whether a message is somebody's words to Berth. Edits are no
// commands, nor is what bots say, Berth itself among them.
func spoken(e *event, self string) bool {
	if e.User == "" || e.User == self || e.User == slackbot || e.BotID != "" || e.Channel == "" || e.TS == "" || len(e.Edited) > 0 && string(e.Edited) != "null" {
		return false
	}
	switch e.Subtype {
	case "", "file_share", "thread_broadcast":
	default:
		return false
	}
	// A mention in a direct message arrives as that message, too.
	return direct(e.Channel) == (e.Type == eventMessage)
}

// slackbot is Slack's own account in every workspace.
const slackbot = "USLACKBOT"

// selfOf is the bot's own account, where an event was seen; "" when neither it
// nor Slack has said.
func (s *Surface) selfOf(en *envelope) string {
	for _, auth := range en.Authorizations {
		if auth.IsBot && auth.UserID != "" && optional(auth.UserID) && (auth.TeamID == en.TeamID || len(en.Authorizations) == 1) {
			return auth.UserID
		}
	}
	return s.workspaces.self(en.TeamID)
}

// ours tells whether an address is a page of Berth's.
func (s *Surface) ours(address string) bool {
	if s.public == "" || len(address) > maxAddress {
		return false
	}
	public, err := url.Parse(s.public)
	if err != nil {
		return false
	}
	u, err := url.Parse(address)
	if err != nil || !strings.EqualFold(u.Host, public.Host) || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	return public.Path == "" || u.Path == public.Path || strings.HasPrefix(u.Path, public.Path+"/")
}

// first is the first of words that is not empty.
func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
