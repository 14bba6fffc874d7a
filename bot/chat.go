package bot

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// What chat platforms and Berth say to each other. The surface of a platform
// (bot/slack, bot/discord) turns what it is sent into ChatEvents, and renders
// ChatMessages; package bot/chat does the rest, the same for all of them.

// The chat platforms, as surfaces are called.
const (
	PlatformSlack   = "slack"
	PlatformDiscord = "discord"
)

// ChatKind is what a ChatEvent is.
type ChatKind string

// The kinds of ChatEvents.
const (
	ChatCommand ChatKind = "command" // Line was typed, or a button stands for it
	ChatHome    ChatKind = "home"    // somebody opened the page that is theirs
	ChatLinks   ChatKind = "links"   // somebody posted links to Berth
)

// ChatPlace is where something stands in chat.
type ChatPlace struct {
	Platform  string `json:"platform"`            // PlatformSlack, PlatformDiscord
	Workspace string `json:"workspace,omitempty"` // Slack's team, Discord's guild; "" in Discord's direct messages
	Channel   string `json:"channel,omitempty"`
	Thread    string `json:"thread,omitempty"` // the message that a thread hangs on, or Discord's thread; "" is the channel itself
	// User makes the place a direct message to that account ("U123") where Channel
	// is empty.
	User string `json:"user,omitempty"`
}

// ID is the place within its platform, as approvals.Place.ID keeps it:
// "T1/C1", "T1/C1/1700000000.000100" in a thread, "T1/@U1" for a direct message.
// An empty workspace is "-".
func (p ChatPlace) ID() string {
	workspace := p.Workspace
	if workspace == "" {
		workspace = "-"
	}
	id := workspace + "/" + p.Channel
	if p.Channel == "" {
		id = workspace + "/@" + p.User
	}
	if p.Thread != "" {
		id += "/" + p.Thread
	}
	return id
}

// ParseChatPlace reads what ID wrote.
func ParseChatPlace(platform, id string) (ChatPlace, error) {
	words := strings.Split(id, "/")
	if len(words) < 2 || len(words) > 3 || words[0] == "" || strings.TrimPrefix(words[1], "@") == "" || words[len(words)-1] == "" {
		return ChatPlace{}, fmt.Errorf("%.100q is no place of %s", id, platform)
	}
	p := ChatPlace{Platform: platform, Workspace: words[0]}
	if p.Workspace == "-" {
		p.Workspace = ""
	}
	if user, direct := strings.CutPrefix(words[1], "@"); direct {
		p.User = user
	} else {
		p.Channel = words[1]
	}
	if len(words) == 3 {
		p.Thread = words[2]
	}
	return p, nil
}

// ChatEvent is what somebody did at a chat platform. It is stored before the
// platform is told that it arrived.
type ChatEvent struct {
	// ID makes the event one, however often the platform delivers it: the
	// platform's own id of it, or what is unique in it. At most 200 bytes.
	ID      string    `json:"id"`
	Kind    ChatKind  `json:"kind"`
	Place   ChatPlace `json:"place"`
	Private bool      `json:"private,omitempty"` // in a direct message: what was typed is read by nobody else
	Message string    `json:"message,omitempty"` // the message that was clicked on, or that mentions Berth
	// Identity is who did it: "slack:U123", "discord:987". User is the same account
	// as the platform calls it, and Name what it is shown as, which decides nothing.
	Identity string `json:"identity"`
	User     string `json:"user"`
	Name     string `json:"name,omitempty"`
	Line     string `json:"line,omitempty"` // the command, without "/berth"
	// Digest begins the digest of the plan that a clicked card showed, as
	// ChatButton.Digest.
	Digest  string `json:"digest,omitempty"`
	Clicked bool   `json:"clicked,omitempty"` // by a button or a modal, not typed
	// Answer is where the platform takes the answer for this account alone (Slack's
	// response_url or a view, Discord's interaction token), until Until. It is as good as a
	// password for that while, so that no log has it.
	Answer string    `json:"answer,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Links  []string  `json:"links,omitempty"` // ChatLinks: the addresses
	At     time.Time `json:"at"`              // when it was done, as the platform says
}

// ChatTone is how a message is coloured.
type ChatTone string

// The tones of messages.
const (
	ChatPlain   ChatTone = ""
	ChatWaiting ChatTone = "waiting" // somebody must act
	ChatWorking ChatTone = "working"
	ChatGood    ChatTone = "good"
	ChatWarning ChatTone = "warning"
	ChatBad     ChatTone = "bad"
	ChatOver    ChatTone = "over" // it is over, and nothing is there
)

// ChatMessage is what Berth says in chat, before it is rendered for a platform.
// All Markdown is as in Reply.Text: GitHub's, in which what came from outside is
// escaped. A surface renders all of it within its platform's limits; where text
// must be cut, its head and tail stay, and Whole says where the rest is read.
type ChatMessage struct {
	Tone   ChatTone
	Icon   string        // one emoji, as a character
	Title  string        // one line of plain text
	Text   string        // Markdown
	Loss   *ChatLoss     `json:",omitempty"` // what would be lost for good; nil when nothing would
	Fields []ChatField   // short facts, which may stand side by side
	Parts  []ChatSection // longer ones, one below the other
	Small  string        // one line of Markdown, in small letters
	Whole  string        // Markdown: where all of a text is read that had to be cut
	// Buttons stand in rows of at most five, in this order.
	Buttons []ChatButton
	File    *ChatFile // what is better read as a file; nil when there is none
	// Call names whom a new message calls, by identities and groups of policies:
	// "slack:U1", "slack-group:S1", "discord:9", "discord-role:1/2". A surface calls those of its
	// own platform and nobody else, whatever the texts hold. Edits call nobody.
	Call []string
	// ReplyTo is the message of the same place that a new one answers, by its id there.
	// A surface whose platform has replies shows that.
	ReplyTo string
	// Shown says that all of an answer stands on a card already, where it was asked
	// for. A surface that could only give it by a direct message leaves it out.
	Shown bool
}

// block begins a text that no word can stand before on the same line: a list, a
// quote, a table, code, a heading.
var block = regexp.MustCompile("^(\\s|```|~~~|[-+>|#<]|\\* |[0-9]+[.)] |$)")

// Led is the message as it is rendered: an icon without a title begins the text,
// where that begins with words, rather than standing alone above it.
func (m ChatMessage) Led() ChatMessage {
	if m.Icon != "" && m.Title == "" && !block.MatchString(m.Text) {
		m.Text, m.Icon = m.Icon+" "+m.Text, ""
	}
	return m
}

// ChatField is a short fact.
type ChatField struct {
	Name string // plain text
	Text string // Markdown
	// At makes the fact a time, which is told in the reader's own time zone, and
	// Far is how far away that is, "in 2 days", for a platform that does not tell it
	// by itself. Text then goes on with what there is to say besides.
	At  time.Time `json:",omitzero"`
	Far string    `json:",omitempty"`
}

// ChatSection is a part of a message under a heading of its own.
type ChatSection struct {
	Title string // plain text; may be empty
	Text  string // Markdown
}

// ChatFile is a text to read as a file.
type ChatFile struct {
	Name string // "plan.diff"
	Text string
}

// ChatStyle is how a button looks.
type ChatStyle string

// The styles of buttons.
const (
	StylePlain   ChatStyle = ""
	StylePrimary ChatStyle = "primary"
	StyleDanger  ChatStyle = "danger"
)

// ChatButton is a command to click on, or a link. A click is done as if whoever
// clicked had typed Line, by what they may do then.
type ChatButton struct {
	Label string
	Line  string // "approve 01jd0000000000000000000000"
	URL   string // opens this in place of a command
	Style ChatStyle
	// Digest begins the digest of the plan that the message shows: a yes counts
	// for no other. At most 16 characters.
	Digest string
	// Confirm is asked before the click counts, "" when nothing is. Plain text.
	Confirm string
	// Reason has the person asked why, in a window of its own, and what they write
	// is the command's --reason. It is the question; "" asks nothing.
	Reason string
	// Show has the answer shown in a window of its own where the platform has such:
	// it is long.
	Show bool
	When ChatWhen `json:",omitempty"`
}

// ChatWhen is when a button is there, by how much of ChatMessage.Loss is shown.
// Nobody is to agree at one click to what they cannot have seen.
type ChatWhen string

// When buttons are there.
const (
	WhenAlways ChatWhen = ""
	WhenWhole  ChatWhen = "whole" // all that would be lost is shown, or nothing would be
	WhenCut    ChatWhen = "cut"   // only some of it is
)

// Shown tells whether the button is there in a message that shows all that would
// be lost, or not all of it.
func (b ChatButton) Shown(whole bool) bool {
	return b.When == WhenAlways || (b.When == WhenWhole) == whole
}

// ChatSent is a message that stands in chat.
type ChatSent struct {
	Place ChatPlace `json:"place"` // with the channel that a direct message turned out to be
	ID    string    `json:"id"`
	URL   string    `json:"url,omitempty"` // where people read it; "" when that is not known
}

// ChatPage is the page that is somebody's own.
type ChatPage struct {
	Mine    []ChatMessage // their environments
	Waiting []ChatMessage // requests that wait for them
	Text    string        // Markdown: what else there is to say
}

// ChatLimits are how much may be written to one workspace or guild, by all
// replicas together.
type ChatLimits struct {
	Posts, Edits int           // in each Window
	Window       time.Duration // at most a minute
	// ChannelEvery is how far new messages to one channel are apart.
	ChannelEvery time.Duration
	// EditEvery is how far edits of one message are apart, unless one says the end.
	EditEvery time.Duration
}

// Limited says that the platform wants a pause, or that the budget is spent.
type Limited struct{ After time.Duration }

func (e *Limited) Error() string { return fmt.Sprintf("to be tried again in %s", e.After) }
