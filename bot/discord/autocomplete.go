package discord

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxChoices is how many completions are shown, and maxChoice how long one may be,
	// in characters.
	// Source: https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-option-choice-structure
	maxChoices = 25
	maxChoice  = 100
	// suggestWithin is how long completions may take: Discord waits 3 s.
	suggestWithin = 2 * time.Second
)

// autocomplete completes the option that somebody is typing. Without a
// completion they type on: nothing of this is an error to them.
func (s *Surface) autocomplete(ctx context.Context, i interaction) (response, error) {
	d, c, err := decodeTyping(i.Data)
	if err != nil {
		return response{}, err
	}
	v, known := s.verbAt(c.path)
	if !known || !d.slash() || c.focus == "" {
		return choices(nil), nil
	}
	for _, o := range v.options() {
		if o.Name != c.focus || o.Suggest == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, suggestWithin)
		defer cancel()
		return choices(s.suggest(ctx, i, o, c)), nil
	}
	return choices(nil), nil
}

// suggest finds completions of an option.
func (s *Surface) suggest(ctx context.Context, i interaction, o Option, c call) []string {
	typed := c.given[c.focus].text
	if o.Suggest == SuggestVerb {
		return s.completeVerb(typed)
	}
	if s.suggester == nil {
		return nil
	}
	target := ""
	if o.Name != targetOption {
		target = oneLine(c.given[targetOption].text)
	}
	// Whoever asks Redis may be slower than the time that there is.
	found := make(chan []string, 1)
	go func() {
		found <- s.suggester.Suggest(ctx, i.place(), identityPrefix+i.by().ID, o.Suggest, target, oneLine(typed))
	}()
	select {
	case words := <-found:
		return words
	case <-ctx.Done():
		s.log.DebugContext(ctx, "completions took too long", "what", o.Suggest)
		return nil
	}
}

// targetOption is the argument that names an environment, on which what other
// options are completed with depends.
const targetOption = "target"

// completeVerb are the verbs that hold what was typed.
func (s *Surface) completeVerb(typed string) []string {
	typed = strings.ToLower(strings.TrimSpace(typed))
	var first, others []string
	for _, v := range s.verbs {
		switch {
		case strings.HasPrefix(v.Name, typed):
			first = append(first, v.Name)
		case strings.Contains(v.Name, typed):
			others = append(others, v.Name)
		}
	}
	return append(first, others...)
}

// choices are completions as Discord takes them. One that is too long to be
// chosen whole is left out.
func choices(words []string) response {
	list := []choiceValue{}
	for _, word := range words {
		if n := utf8.RuneCountInString(word); n == 0 || n > maxChoice || !utf8.ValidString(word) {
			continue
		}
		if len(list) == maxChoices {
			break
		}
		list = append(list, choiceValue{Name: word, Value: word})
	}
	return response{Type: answerAutocomplete, Data: &responseData{Choices: &list}}
}
