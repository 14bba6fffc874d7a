package slack

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot"
)

// answerFor is how long a response_url can be used.
// Source: https://docs.slack.dev/interactivity/handling-user-interaction/#message_responses
const answerFor = 30 * time.Minute

// ephemeral is an answer that only whoever typed a command sees.
// Source: https://docs.slack.dev/interactivity/implementing-slash-commands#responding_to_commands
type ephemeral struct {
	Type string `json:"response_type"`
	Text string `json:"text"`
}

func whisper(text string) reply {
	return reply{status: http.StatusOK, body: ephemeral{Type: "ephemeral", Text: text}}
}

// commandForm is a slash command that came over HTTP.
func (s *Surface) commandForm(ctx context.Context, signed time.Time, body []byte) reply {
	t, err := decodeForm(body)
	if err != nil {
		return malformed
	}
	id := ""
	if t.trigger == "" {
		// What has no trigger is told from others by all that was signed.
		id = idOf("command", signed.UTC().Format(time.RFC3339), string(body))
	}
	return s.command(ctx, s.when(signed), t, id)
}

// commandEnvelope is one that came by Socket Mode; id is its envelope's.
func (s *Surface) commandEnvelope(ctx context.Context, id string, payload []byte) reply {
	t, err := decodeTyped(payload)
	if err != nil {
		return malformed
	}
	return s.command(ctx, s.now(), t, idOf("envelope", id))
}

// command takes a slash command. id is its own where it has no trigger.
func (s *Surface) command(ctx context.Context, at time.Time, t typed, id string) reply {
	if t.probe {
		return ok
	}
	if t.trigger != "" {
		id = idOf("command", t.team, t.user, t.channel, t.trigger, t.response, t.text)
	}
	a := arrival{team: t.team, ChatEvent: bot.ChatEvent{
		ID: id, Kind: bot.ChatCommand,
		Place:   bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: t.team, Channel: t.channel},
		Private: direct(t.channel),
		User:    t.user, Name: shortName(t.name),
		Line:   withoutSlash(commandText(plainText(t.text))),
		Answer: s.address(t.response), At: at,
	}}
	if a.Answer != "" {
		a.Until = at.Add(answerFor)
	}
	if !s.serves(ctx, &a, t.team, t.enterprise) {
		return whisper(foreignText)
	}
	switch s.take(ctx, &a, true, false) {
	case stored:
		return ok
	case held:
		return whisper(a.text(waitingText))
	default:
		return whisper(a.text(refusedText))
	}
}

// serves puts a into the workspace, among those that Slack names, that Berth
// serves, and tells whether there is one. While that cannot be seen it says
// yes: a is not stored before whose account did it is known.
func (s *Surface) serves(ctx context.Context, a *arrival, teams ...string) bool {
	team, known, err := s.workspaces.among(ctx, teams...)
	if err != nil {
		a.teams, a.unplaced = teams, true
		return true
	}
	if !known {
		if s.once("foreign " + team) {
			s.log.WarnContext(ctx, "Slack sends from a workspace that Berth has no token of; add it to slack.workspaces", "team", team)
		}
		return false
	}
	a.Place.Workspace = team
	return true
}

// when is the time of a request that was signed at second: not before anything
// that happened in that second, and not after now.
func (s *Surface) when(signed time.Time) time.Time {
	now := s.now()
	if last := signed.Add(time.Second - time.Nanosecond); last.Before(now) {
		return last.UTC()
	}
	return now.UTC()
}

// address is a response_url that may be answered to, or "": those of slack.com
// go there alone, whatever a payload holds.
func (s *Surface) address(response string) string {
	if len(response) > maxAddress {
		return ""
	}
	u, err := url.Parse(response)
	if err != nil || u.Host == "" || u.User != nil {
		return ""
	}
	if slackOwn(s.apiURL.Hostname()) {
		if u.Scheme != "https" || !slackOwn(u.Hostname()) {
			return ""
		}
	} else if u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return response
}

// maxAddress is the longest response_url that is kept; Slack's have about 100
// characters.
const maxAddress = 1000

// slackOwn tells whether a host is Slack's.
// Source: https://docs.slack.dev/admins/govslack/
func slackOwn(host string) bool {
	for _, domain := range []string{"slack.com", "slack-gov.com"} {
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

// direct tells whether a channel is between an account and Berth: nobody else
// reads what is typed there.
// Source: https://docs.slack.dev/reference/objects/conversation-object/
func direct(channel string) bool { return strings.HasPrefix(channel, "D") }
