package slack

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// maxReason is how long a --reason may be, in characters; the grammar has the
	// same limit.
	maxReason = 500
	// openWithin is how long Slack takes a trigger_id.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction/#modal_responses
	openWithin = 3 * time.Second
	// lookFor is how much of patience a window may take to open before the answer
	// goes elsewhere.
	lookFor = 450 * time.Millisecond

	callbackReason = "berth_reason"
	callbackRun    = "berth_run_form"
	callbackShow   = "berth_show"

	// viewAnswer begins a ChatEvent's Answer that is a window.
	viewAnswer = "view:"
)

func isViewAnswer(answer string) bool { return strings.HasPrefix(answer, viewAnswer) }

// note is what a window keeps of how it came to be opened.
type note struct {
	Team    string `json:"t,omitempty"`
	Channel string `json:"c,omitempty"`
	Thread  string `json:"h,omitempty"`
	Message string `json:"m,omitempty"`
	Line    string `json:"l,omitempty"`
	Digest  string `json:"d,omitempty"`
	Answer  string `json:"r,omitempty"`
	Until   int64  `json:"u,omitempty"` // seconds
	// Found are the targets that a message was about.
	Found []string `json:"f,omitempty"`
}

// notes is the note of what an arrival was about.
func notes(a *arrival) note {
	n := note{Team: a.Place.Workspace, Channel: a.Place.Channel, Thread: a.Place.Thread, Message: a.Message, Line: a.Line, Digest: a.Digest, Answer: a.Answer}
	if !a.Until.IsZero() {
		n.Until = a.Until.Unix()
	}
	return n
}

// text is n as private_metadata. What can be done without is left out when it is
// too long: the answer then comes as a message.
func (n note) text() (string, error) {
	for _, shorten := range []func(){func() {}, func() { n.Found = nil }, func() { n.Answer, n.Until = "", 0 }} {
		shorten()
		text, err := marshal(n)
		if err != nil {
			return "", err
		}
		if width(text) <= maxPrivateMetadata {
			return text, nil
		}
	}
	return "", errors.New("the command is too long for a window")
}

// readNote reads private_metadata; that of a window of no note is empty.
func readNote(metadata string) (note, error) {
	var n note
	if metadata == "" {
		return n, nil
	}
	if json.Unmarshal([]byte(metadata), &n) != nil {
		return note{}, errMalformed
	}
	if !optional(n.Team) || !optional(n.Channel) || !stamped(n.Thread) || !stamped(n.Message) {
		return note{}, errMalformed
	}
	return n, nil
}

// titled is text for the head of a window or one of its buttons, and otherwise
// where text says nothing.
func titled(text, otherwise string) *slackapi.TextBlockObject {
	return plainObject(first(oneLine(text), otherwise), maxModalTitle)
}

// reasonWindow asks why. label is what was clicked on.
func reasonWindow(label string, p buttonValue, n note) func() (slackapi.ModalViewRequest, error) {
	return func() (slackapi.ModalViewRequest, error) {
		kept, err := n.text()
		if err != nil {
			return slackapi.ModalViewRequest{}, err
		}
		box := slackapi.NewPlainTextInputBlockElement(nil, fieldReason)
		box.Multiline, box.MaxLength, box.FocusOnLoad = true, maxReason, true
		question := slackapi.NewInputBlock(fieldReason, plainObject(p.Reason, maxModalLabel), nil, box)
		what := slackapi.NewContextBlock("", plainObject("/berth "+p.Line, maxTextObject))
		return slackapi.ModalViewRequest{
			Type: slackapi.VTModal, CallbackID: callbackReason, PrivateMetadata: kept,
			Title: titled(label, "Why?"), Submit: titled(label, "Send"), Close: titled("Back", ""),
			Blocks: slackapi.Blocks{BlockSet: []slackapi.Block{question, what}},
		}, nil
	}
}

// reasonLine is the command of a reason window, with the reason.
func reasonLine(v *view, n note) (string, fieldErrors) {
	why := oneLine(fieldOf(v, fieldReason).Value)
	switch {
	case why == "":
		return "", fieldErrors{fieldReason: "Say why: it is kept with the decision."}
	case utf8.RuneCountInString(why) > maxReason:
		return "", fieldErrors{fieldReason: "A reason may have 500 characters at most."}
	case n.Line == "":
		return "", fieldErrors{fieldReason: "This window has lost what it is about; close it and click again."}
	}
	return n.Line + " --reason " + bot.Quote(why), nil
}

// textWindow says one thing.
func textWindow(head, text, kept string) slackapi.ModalViewRequest {
	return slackapi.ModalViewRequest{
		Type: slackapi.VTModal, CallbackID: callbackShow, PrivateMetadata: kept, Title: titled(head, "Berth"), Close: titled("Close", ""),
		Blocks: slackapi.Blocks{BlockSet: []slackapi.Block{section(text)}},
	}
}

// instead shows text in place of a window that was filled in.
func instead(text string) reply {
	window := textWindow("Berth", text, "")
	return reply{status: http.StatusOK, body: slackapi.NewUpdateViewSubmissionResponse(&window)}
}

// look opens a window for the answer to a, which then goes there. When Slack
// does not open it in time, the answer goes where it would have gone.
func (s *Surface) look(ctx context.Context, a *arrival, trigger, label string) {
	kept, err := notes(a).text()
	if err != nil {
		return
	}
	window := lookingModal()
	window.CallbackID, window.PrivateMetadata = callbackShow, kept
	type result struct {
		id  string
		err error
	}
	opened, inTime := make(chan result, 1), make(chan bool, 1)
	asked := *a
	if s.aside(ctx, func(ctx context.Context) {
		id, err := s.open(ctx, &asked, trigger, false, func() (slackapi.ModalViewRequest, error) { return window, nil })
		opened <- result{id, err}
		if !<-inTime && err == nil {
			s.update(ctx, &asked, id, textWindow(label, "Slack took its time to open this window: the answer is a message to you, in the conversation.", kept))
		}
	}).status != http.StatusOK {
		return
	}
	timer := time.NewTimer(s.lookFor)
	defer timer.Stop()
	select {
	case r := <-opened:
		inTime <- true
		if r.err == nil {
			a.Answer, a.Until = viewAnswer+r.id, a.At.Add(answerFor)
		}
	case <-timer.C:
		inTime <- false
	}
}

// open opens a window, on top of the one that was clicked in when there is one.
func (s *Surface) open(ctx context.Context, a *arrival, trigger string, onTop bool, window func() (slackapi.ModalViewRequest, error)) (string, error) {
	v, err := window()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	token, err := s.workspaces.token(ctx, a.Place.Workspace)
	if err != nil {
		return "", err
	}
	method := "views.open"
	if onTop {
		method = "views.push"
	}
	var opened struct {
		View struct {
			ID string `json:"id"`
		} `json:"view"`
	}
	_, err = s.api.call(ctx, token, method, url.Values{"trigger_id": {trigger}, "view": {string(text)}}, &opened)
	return opened.View.ID, err
}

// update replaces what a window shows.
func (s *Surface) update(ctx context.Context, a *arrival, id string, window slackapi.ModalViewRequest) {
	text, err := json.Marshal(window)
	if err != nil {
		return
	}
	token, err := s.workspaces.token(ctx, a.Place.Workspace)
	if err == nil {
		_, err = s.api.call(ctx, token, "views.update", url.Values{"view_id": {id}, "view": {string(text)}}, nil)
	}
	if err != nil {
		s.log.WarnContext(ctx, "a window in Slack could not be updated", "event", a.ID, "error", err)
	}
}

// unopened tells that the window that was to ask something did not open.
func (s *Surface) unopened(ctx context.Context, a arrival, err error) {
	s.log.WarnContext(ctx, "Slack did not open a window", "event", a.ID, "code", actions.CodeOf(err), "error", err)
	text := "Slack did not open the window, so nothing was done. Click again."
	if a.Line != "" {
		text = "Slack did not open the window that asks why, so nothing was done. Click again, or type " + bot.Code("/berth "+a.Line+` --reason "…"`, 2000) + "."
	}
	s.tell(ctx, a, text)
}
