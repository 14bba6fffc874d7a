package slack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/bot"
)

const (
	// perRow is how many buttons stand side by side.
	perRow = 5
	// buttonShare is how much of a message its buttons may take, in parts of a
	// hundred.
	buttonShare = 30
	// maxQuestion is how long the question of a button may be, in characters.
	maxQuestion = 150

	commandAction = "berth:"      // begins the action_id of a command, before its number
	linkAction    = "berth:open:" // begins that of a link, of which Berth need do nothing
)

// buttonValue is what a button means, in its value. Slack hands it back when
// somebody clicks. It gives no rights: the line is run as that of whoever
// clicked.
type buttonValue struct {
	Line   string `json:"line"`
	Digest string `json:"digest,omitempty"` // begins that of the plan that was shown
	Reason string `json:"reason,omitempty"` // the question, where there is one
	Show   bool   `json:"show,omitempty"`   // the answer is long
}

// parseButtonValue reads the value of a button. It returns an error for what
// Berth did not write.
func parseButtonValue(s string) (buttonValue, error) {
	if len(s) > 4*maxButtonValue { // the most that so many characters take
		return buttonValue{}, errors.New("slack: a button's value is too long")
	}
	var v buttonValue
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return buttonValue{}, fmt.Errorf("slack: a button's value: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || v.Line == "" {
		return buttonValue{}, errors.New("slack: a button's value holds no command, or more than one")
	}
	return v, nil
}

// actions are the buttons, in rows.
func (l *layout) actions(out *rendered, in room, chars int) []slackapi.Block {
	var buttons []slackapi.BlockElement
	left := min(in.chars, 3*chars) * buttonShare / 100 // text gives way first
	for _, b := range l.m.Buttons {
		if !b.Shown(!l.lossCut) {
			continue
		}
		made := button(b, len(buttons))
		if made == nil {
			continue
		}
		if left -= weight(made); left < 0 || len(buttons) == maxActions {
			out.cut = true
			break
		}
		buttons = append(buttons, made)
	}
	var rows []slackapi.Block
	for len(buttons) > 0 {
		n := min(perRow, len(buttons))
		rows = append(rows, slackapi.NewActionBlock("", buttons[:n:n]...))
		buttons = buttons[n:]
	}
	return rows
}

// button is the n-th button of a message. It is nil for what Slack takes no button of:
// one that says nothing, an address that is not of the web, and a line that is
// too long to travel in it.
func button(b bot.ChatButton, n int) *slackapi.ButtonBlockElement {
	if oneLine(b.Label) == "" {
		return nil
	}
	made := slackapi.NewButtonBlockElement("", "", plainObject(b.Label, maxButtonText))
	switch b.Style {
	case bot.StylePrimary:
		made.Style = slackapi.StylePrimary
	case bot.StyleDanger:
		made.Style = slackapi.StyleDanger
	}
	if b.URL != "" {
		if made.URL = webAddress(b.URL); made.URL == "" {
			return nil
		}
		made.ActionID = linkAction + strconv.Itoa(n)
		return made
	}
	value, err := marshal(buttonValue{Line: b.Line, Digest: b.Digest, Reason: clip(oneLine(b.Reason), maxQuestion), Show: b.Show})
	if err != nil || b.Line == "" || width(value) > maxButtonValue {
		return nil
	}
	made.ActionID, made.Value = commandAction+strconv.Itoa(n), value
	if b.Confirm != "" {
		made.Confirm = slackapi.NewConfirmationBlockObject(plainObject("Are you sure?", maxConfirmTitle), plainObject(b.Confirm, maxConfirmText),
			plainObject("Yes, "+lowerFirst(b.Label), maxConfirmButton), plainObject("No", maxConfirmButton))
		made.Confirm.Style = made.Style
	}
	return made
}

// lowerFirst is a label that goes on a sentence.
func lowerFirst(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(first)) + text[size:]
}

// marshal is v as JSON, without escapes that only HTML needs.
func marshal(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return string(bytes.TrimSpace(b.Bytes())), err
}
