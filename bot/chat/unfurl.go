package chat

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// mostLinks is how many links of one message are shown. Slack itself shows about
// as many.
const mostLinks = 10

// link is what an address of Berth's leads to: one of these.
type link struct {
	env          actions.Name
	request, run string
}

// readLink understands an address of Berth's own, which is reached at public: the
// dashboard's, and the API's, which answers about the same.
func readLink(public, address string) (link, bool) {
	if public == "" || len(address) > 2000 {
		return link{}, false
	}
	ours, err := url.Parse(public)
	if err != nil {
		return link{}, false
	}
	theirs, err := url.Parse(address)
	if err != nil || !strings.EqualFold(ours.Scheme, theirs.Scheme) || !strings.EqualFold(ours.Host, theirs.Host) || theirs.User != nil {
		return link{}, false
	}
	path, ok := strings.CutPrefix(theirs.Path, strings.TrimRight(ours.Path, "/")+"/")
	if !ok {
		return link{}, false
	}
	path = strings.TrimPrefix(path, "api/v1/")
	words := strings.Split(strings.TrimSuffix(path, "/"), "/")
	switch {
	case len(words) == 3 && words[0] == "environments":
		name, err := actions.ParseName(words[1] + "/" + words[2])
		return link{env: name}, err == nil
	case len(words) == 2 && words[0] == "requests":
		return link{request: words[1]}, validID(words[1])
	case (len(words) == 2 || len(words) == 3 && words[2] == "events") && words[0] == "runs":
		return link{run: words[1]}, validID(words[1])
	default:
		return link{}, false
	}
}

// validID tells whether id can be that of a request or a run.
func validID(id string) bool {
	return id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && r != '-'
	})
}

// unfurl shows what the links lead to that somebody posted, if they may look at
// that, and the channel is for it. Nobody is told why a link is not shown.
func (s *Surface) unfurl(ctx context.Context, e bot.ChatEvent) (again time.Duration, err error) {
	if s.now().Sub(e.At) > time.Hour {
		return 0, nil // nobody looks there any more, and no platform takes it
	}
	rules := s.rules(e.Place)
	if !rules.allows(bot.VerbStatus) {
		return 0, nil
	}
	actor, err := s.actor(ctx, e, rules)
	if err != nil || len(actor.Roles) == 0 {
		return 0, err
	}
	found := map[string]bot.ChatMessage{}
	for _, address := range e.Links[:min(len(e.Links), mostLinks)] {
		l, ok := readLink(s.public, address)
		if !ok {
			continue
		}
		m, ok, err := s.preview(ctx, e.Place, l, rules)
		if err != nil {
			return 0, err
		}
		if ok {
			found[address] = m
		}
	}
	if len(found) == 0 {
		return 0, nil
	}
	p, err := s.platform(e.Place.Platform)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = p.Unfurl(ctx, e, found)
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return max(limited.After, 50*time.Millisecond), nil
	}
	if err != nil && !passing(err) {
		if !errors.Is(err, errors.ErrUnsupported) {
			s.log.WarnContext(ctx, "links could not be shown", "platform", p.Name(), "event_id", e.ID, "error", err)
		}
		err = nil
	}
	return 0, err
}

// preview is what a link leads to. It is as things are now and is not kept level,
// so that nothing can be done on it.
func (s *Surface) preview(ctx context.Context, at bot.ChatPlace, l link, rules Rules) (m bot.ChatMessage, ok bool, err error) {
	if l.run != "" {
		run, err := s.store.Run(ctx, l.run)
		if err != nil {
			return m, false, unlessAbsent(err)
		}
		l.request = run.RequestID
	}
	if l.request != "" {
		r, err := s.requests.Get(ctx, strings.ToLower(l.request))
		if err != nil || !rules.reaches(r.Order.Env.App) {
			return m, false, unlessAbsent(err)
		}
		m = s.requestMessage(ctx, at, r)
	} else {
		if !rules.reaches(l.env.App) {
			return m, false, nil
		}
		if m, err = s.environmentMessage(ctx, at, l.env); err != nil {
			return m, false, unlessAbsent(err)
		}
	}
	m.Buttons = slices.DeleteFunc(slices.Clone(m.Buttons), func(b bot.ChatButton) bool { return b.URL == "" })
	m.File, m.Call = nil, nil
	return m, true, nil
}

// unlessAbsent is err, but for what is not there.
func unlessAbsent(err error) error {
	if code := actions.CodeOf(err); code == actions.CodeNotFound || code == actions.CodeInvalid {
		return nil
	}
	return err
}
