package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxBody is the longest comment, in characters.
	// Source: GitHub's answer to a longer one, "Body is too long (maximum is 65536 characters)".
	maxBody = 65_536
	// rememberPost is how long it is known that an answer was posted: longer
	// than GitHub redelivers.
	rememberPost = 8 * 24 * time.Hour
	// stalePost is when an answer that could not be posted helps nobody any more.
	stalePost = 24 * time.Hour
	postMark  = "post:" // begins a post's name among what is due
	// markerStart begins every comment of ours; markdown shows nothing of it.
	markerStart = "<!-- berth:"
)

// post is a comment to be made once, and a reaction on the comment that it
// answers. With no Text there is only the reaction.
type post struct {
	Repo     string    `json:"repo"`
	Number   int       `json:"number"`
	Text     string    `json:"text,omitempty"`
	Comment  int64     `json:"comment,omitempty"` // that gets the reaction
	Reaction string    `json:"reaction,omitempty"`
	At       time.Time `json:"at"`
	Begun    bool      `json:"begun,omitempty"` // it may have been made: look first
	Made     int64     `json:"made,omitempty"`  // the comment
	Done     bool      `json:"done,omitempty"`
}

// queuePost has p made, unless one of that id was queued before.
func (s *Surface) queuePost(ctx context.Context, id string, p post) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	// If the first is stored and the second is not, whoever asked tries again
	// and comes by here again.
	_, err = s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SetNX(ctx, keyOnce(id), data, rememberPost)
		s.due.Mark(ctx, pipe, postMark+id, s.now())
		return nil
	})
	s.due.Nudge()
	return err
}

// deliverPost makes the post of that id, or finds that it is made.
func (s *Surface) deliverPost(ctx context.Context, id string) error {
	data, err := s.rdb.Get(ctx, keyOnce(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return err
	}
	var p post
	if err := json.Unmarshal(data, &p); err != nil || p.Done {
		return nil //nolint:nilerr // what cannot be read was not written by us
	}
	err = s.makePost(ctx, id, &p)
	if err != nil && !final(err) && !errors.Is(err, errNotInstalled) && s.now().Sub(p.At) < stalePost {
		return err
	}
	if err != nil {
		s.log.ErrorContext(ctx, "an answer could not be posted", "repo", p.Repo, "number", p.Number, "error", err)
	}
	p.Done, p.Text = true, ""
	return s.keepPost(ctx, id, p)
}

func (s *Surface) makePost(ctx context.Context, id string, p *post) error {
	marker := postMarker(id)
	if p.Text != "" && p.Made == 0 {
		if p.Begun {
			made, err := s.client.ownComment(ctx, p.Repo, p.Number, marker, p.At.Add(-time.Minute))
			if err != nil {
				return err
			}
			p.Made = made
		}
		if p.Made == 0 {
			p.Begun = true
			if err := s.keepPost(ctx, id, *p); err != nil {
				return err
			}
			made, err := s.client.createComment(ctx, p.Repo, p.Number, fit(marker+"\n"+p.Text))
			if err != nil {
				return err
			}
			p.Made = made
		}
		if err := s.keepPost(ctx, id, *p); err != nil {
			return err
		}
	}
	if p.Reaction == "" || p.Comment == 0 {
		return nil
	}
	err := s.client.react(ctx, p.Repo, p.Comment, p.Reaction)
	if statusOf(err) == http.StatusNotFound {
		return nil // the comment was deleted
	}
	return err
}

func (s *Surface) keepPost(ctx context.Context, id string, p post) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.rdb.Set(ctx, keyOnce(id), data, rememberPost).Err()
}

func postMarker(id string) string { return fmt.Sprintf("%sreply=%s -->", markerStart, id) }

// fit cuts the middle out of a comment that GitHub would not take.
func fit(body string) string {
	r := []rune(body)
	if len(r) <= maxBody {
		return body
	}
	const notice = "\n\n… this was too long for a comment; its middle is left out …\n\n"
	room := maxBody - len([]rune(notice))
	return string(r[:room*3/4]) + notice + string(r[len(r)-room/4:])
}

// loginPattern is what a person's login looks like.
var loginPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9]|-[A-Za-z0-9]){0,38}$`)

// mentionable tells whether login can be addressed; an App's cannot.
func mentionable(login string) bool { return loginPattern.MatchString(login) }

// mention finds what GitHub would tell people of: an @ with a name after it,
// and nothing of a word before it.
var mention = regexp.MustCompile("(^|[^A-Za-z0-9`])@([A-Za-z0-9])")

// quiet takes the mentions out of a text that holds what others wrote, but for
// its blocks of code, where nobody is called. It is escaped already where it was
// made; nobody should be called by a slip there.
func quiet(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	var b strings.Builder
	fence := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		ticks := trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "" && trimmed == fence:
			fence = ""
		case fence == "":
			line = mention.ReplaceAllString(line, "${1}@\u200b${2}")
		}
		b.WriteString(line)
	}
	return b.String()
}
