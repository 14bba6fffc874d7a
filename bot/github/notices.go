package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// notice is a comment of its own, for what an edit of the card would tell
// nobody.
type notice struct {
	kind string // what is told: each kind's latest is kept
	key  string // tells it from others of its kind
	text string
}

// tellNews has posted what happened to a request and somebody must know: broken
// glass, a new plan, an escalation, a reminder. Each is told once. A card that
// was made just now tells it all itself, as a new comment.
func (s *Surface) tellNews(ctx context.Context, c card, k shownCard, made bool) error {
	for _, n := range s.notices(c, s.commentURL(c.repo, c.number, k.id)) {
		if k.told["told:"+n.kind] == n.key {
			continue
		}
		if !made {
			if err := s.postNotice(ctx, c, n); err != nil {
				return err
			}
		}
		if err := s.rdb.HSet(ctx, keyCard(c.r.ID), "told:"+n.kind, n.key).Err(); err != nil {
			return err
		}
	}
	return nil
}

// postNotice has a notice posted, with those called whom it concerns.
func (s *Surface) postNotice(ctx context.Context, c card, n notice) error {
	whom := s.callText
	if n.kind == "glass" {
		whom = s.bypassed
	}
	text := n.text
	if call := whom(ctx, c); call != "" {
		text += "\n\n" + call
	}
	return s.queuePost(ctx, "n"+c.r.ID+"-"+n.kind+"-"+n.key, post{Repo: c.repo, Number: c.number, Text: text, At: s.now().UTC()})
}

// notices are what is to be told of a request as it is now. where is the
// address of its card.
func (s *Surface) notices(c card, where string) (all []notice) {
	r := c.r
	about := fmt.Sprintf("%s ([request](%s))", bot.Code("/"+r.Command, 300), where)
	plan := shortHash(r.Digest)
	// A request that was made with broken glass has a loud card, which is new.
	if broken := bot.BrokenRules(r); r.Glass != nil && r.Glass.Digest != "" && len(broken) > 0 {
		all = append(all, notice{kind: "glass", key: strconv.FormatInt(r.Glass.At.UnixMilli(), 36), text: fmt.Sprintf(
			"## 🚨 %s broke the glass\n\n%s runs without the yes that the %s for.\n\n**Why:** %s\n\nThis is in the audit, with time and address. If it should not have been, %s stops it, and whoever keeps Berth's config can say who may do this (`break_glass` of the rule).",
			bot.Escape(r.Glass.By.Actor, 80), about, bot.RulesAsk(broken), bot.Escape(r.Glass.Reason, 600), bot.Code("/cancel "+r.ID, 60))})
	}
	if r.State != approvals.StatePending || r.Outcome == nil {
		return all
	}
	if len(r.Changed) > 0 {
		all = append(all, notice{kind: "again", key: plan, text: fmt.Sprintf("🔁 What was agreed on has changed, so %s asks again. Approvals that were given before do not count for the new plan.\n\n%s\n\n%s",
			about, bot.ChangedList(r), answerText(r))})
	}
	escalated, reminders := []string{}, 0
	for _, n := range bot.Lacking(r) {
		if n.Rule.Escalated && !slices.Contains(escalated, n.Rule.Rule) {
			escalated = append(escalated, n.Rule.Rule)
		}
	}
	for _, rule := range r.Outcome.Rules {
		reminders += rule.Reminders
	}
	if len(escalated) > 0 {
		all = append(all, notice{kind: "escalated", key: plan + "-" + shortHash(strings.Join(escalated, "\n")), text: fmt.Sprintf(
			"⏫ %s has waited for so long that more people may agree now: it waits for %s.\n\n%s", about, bot.WaitsFor(r), answerText(r))})
	}
	if reminders > 0 {
		all = append(all, notice{kind: "reminded", key: plan + "-" + strconv.Itoa(reminders), text: fmt.Sprintf(
			"⏰ %s still waits for %s%s.\n\n%s", about, bot.WaitsFor(r), bot.UntilText(r), answerText(r))})
	}
	return all
}

// callText calls the people and teams that can still say what a request waits
// for, where GitHub knows them; "" when there are none. Roles and actors of the
// config have no names on GitHub.
func (s *Surface) callText(ctx context.Context, c card) string {
	var from []string
	for _, n := range bot.Lacking(c.r) {
		from = append(from, n.Group.From...)
	}
	names := s.callable(ctx, c.r, from)
	if len(names) == 0 {
		return ""
	}
	return bot.Join(names, "and") + ": you can decide this."
}

// bypassed calls the teams whose word was not waited for.
func (s *Surface) bypassed(ctx context.Context, c card) string {
	if c.r.Outcome == nil {
		return ""
	}
	var from []string
	for _, rule := range c.r.Outcome.Rules {
		for _, g := range rule.Groups {
			if rule.BrokenBy != "" {
				from = append(from, g.From...)
			}
		}
	}
	names := s.callable(ctx, c.r, from)
	if len(names) == 0 {
		return ""
	}
	return bot.Join(names, "and") + ": you were not asked."
}

// callable are the mentions of those among groups whom GitHub knows, but for
// who asked.
func (s *Surface) callable(ctx context.Context, r *approvals.Request, groups []string) (names []string) {
	add := func(name string) {
		own := strings.EqualFold(name, "@"+strings.TrimPrefix(r.Requester.Identity, identityPrefix))
		if !own && len(names) < maxCalled && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, g := range groups {
		kind, name, _ := strings.Cut(g, ":")
		switch {
		case kind == "github-team" && ownerTeam.MatchString("@"+name):
			add("@" + name)
		case kind == "codeowners":
			for _, owner := range s.ownersToCall(ctx, r) {
				add(owner)
			}
		}
	}
	return names
}

// ownersToCall are the code owners of a request; none when they cannot be seen.
func (s *Surface) ownersToCall(ctx context.Context, r *approvals.Request) []string {
	found, err := s.CodeOwners.of(ctx, r)
	if err != nil {
		s.log.WarnContext(ctx, "code owners are not called: they could not be seen", "request_id", r.ID, "error", err)
		return nil
	}
	return slices.DeleteFunc(slices.Clone(found.owners), func(o string) bool { return !strings.HasPrefix(o, "@") })
}

// ownerless says why a request that waits for code owners has none; "" when it
// has some, waits for others, or that cannot be seen.
func (s *Surface) ownerless(ctx context.Context, r *approvals.Request) string {
	if !slices.ContainsFunc(bot.Lacking(r), func(n bot.Need) bool { return slices.Contains(n.Group.From, "codeowners") }) {
		return ""
	}
	found, err := s.CodeOwners.of(ctx, r)
	if err != nil || found.none == "" {
		return ""
	}
	return "There are no code owners who could agree: " + found.none
}

// shortHash tells texts apart in a key.
func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
