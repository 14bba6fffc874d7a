package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/approvals"
)

// voice is what one person says now, whichever of their accounts they used.
type voice struct {
	person
	decision approvals.Decision
	needs    []bool // which needs they count for
}

// voices are everybody's last words that count for a rule.
type voices struct {
	approve, deny []voice // sorted by id, so that the order of clicks does not matter
	// What could count but for a group that cannot be seen now.
	unseenApprove, unseenDeny int
	blind                     []string // those groups
}

// began is since when the request waits: since what it waits with was planned.
func (ev *evaluation) began() time.Time {
	if p := ev.request.Plan; p != nil && !p.MadeAt.IsZero() {
		return p.MadeAt.UTC()
	}
	return ev.request.CreatedAt.UTC()
}

// approve is what a rule says that asks for people's agreement.
func (ev *evaluation) approve(ctx context.Context, r *rule, out *approvals.RuleOutcome) error {
	a := r.Approve
	start, within := ev.began(), a.Within
	if within <= 0 {
		within = DefaultWithin
	}
	deadline := start.Add(within)
	out.NotRequester, out.Majority = a.NotRequester, a.Majority
	out.Escalated = a.Escalate != nil && !ev.now.Before(start.Add(a.Escalate.After))
	said, err := ev.listen(ctx, r, deadline, out)
	if err != nil {
		return err
	}
	met := ev.fill(r, said, out)
	out.Effect = verdict(a, said, met, !ev.now.Before(deadline))
	switch out.Effect {
	case approvals.EffectApprove:
		out.ExpiresAt = deadline
		ev.schedule(a, start, deadline, len(said.blind) > 0, out)
		out.Reason = ev.waiting(r, said, out)
	case approvals.EffectExpire:
		out.ExpiresAt = deadline
		out.Reason = fmt.Sprintf("Not enough people agreed in time: the rule %s needed %s by %s. Ask for it again when they are there.", r.Name, missing(out.Groups), clock(deadline))
	case approvals.EffectDeny:
		out.Reason = denial(r, said)
	}
	return nil
}

// verdict is the effect of what was said. What could not be seen neither
// releases a request nor lets it expire.
func verdict(a *Approve, said voices, met, late bool) approvals.Effect {
	approving, denying := len(said.approve), len(said.deny)
	switch {
	case !a.Majority && denying > 0, a.Majority && denying >= total(a) && denying > approving:
		return approvals.EffectDeny
	case met && !a.Majority && said.unseenDeny == 0, met && a.Majority && approving > denying+said.unseenDeny:
		return approvals.EffectRelease
	case late && said.unseenApprove+said.unseenDeny == 0:
		return approvals.EffectExpire
	default:
		return approvals.EffectApprove
	}
}

// total is how many people must agree in all.
func total(a *Approve) int {
	n := 0
	for _, need := range a.Needs {
		n += max(need.Count, 1)
	}
	return n
}

// listen finds out whose decisions count for the rule, and why the others do not.
func (ev *evaluation) listen(ctx context.Context, r *rule, deadline time.Time, out *approvals.RuleOutcome) (voices, error) {
	last := map[string]voice{}
	ignore := func(d approvals.Decision, by, why string) {
		out.Ignored = append(out.Ignored, approvals.Ignored{By: by, Verdict: d.Verdict, Why: why, Identity: d.By.Identity})
	}
	for _, d := range sorted(ev.request.Decisions) {
		p, err := whois(ctx, ev.o.People, d.By)
		if err != nil {
			return voices{}, err
		}
		switch {
		case d.Digest != "" && ev.request.Digest != "" && d.Digest != ev.request.Digest:
			ignore(d, p.Name, "was about an earlier plan")
			continue
		case d.At.After(deadline):
			ignore(d, p.Name, "came after "+clock(deadline)+", when its time was over")
			continue
		}
		if before, ok := last[p.ID]; ok && before.identity != p.identity {
			ignore(before.decision, p.Name, "is the same person as "+p.identity+", who decided later; one person counts once")
		}
		last[p.ID] = voice{person: p, decision: d}
	}
	var said voices
	for _, id := range keys(last) {
		v := last[id]
		if r.Approve.NotRequester && v.ID == ev.by.ID {
			ignore(v.decision, v.Name, "asked for it themselves; somebody else must agree")
			continue
		}
		counts, blind := ev.places(ctx, r, &v, out.Escalated)
		if blind != "" && !slices.Contains(said.blind, blind) {
			said.blind = append(said.blind, blind)
		}
		deny := v.decision.Verdict != approvals.Approve
		switch {
		case counts && deny:
			said.deny = append(said.deny, v)
		case counts:
			said.approve = append(said.approve, v)
		case blind != "" && deny:
			ignore(v.decision, v.Name, "whether they belong to "+described(blind)+" could not be seen; Berth looks again")
		case blind != "":
			ignore(v.decision, v.Name, "whether they belong to "+described(blind)+" could not be seen; Berth looks again")
		default:
			ignore(v.decision, v.Name, ev.outsider(ctx, r, v, out.Escalated))
		}
		if blind != "" && deny && !counts {
			said.unseenDeny++
		}
		if blind != "" && !deny {
			said.unseenApprove++
		}
	}
	return said, nil
}

// places notes which needs v counts for, and tells whether there are any. A
// group that could not be seen, and might have made a difference, comes as blind.
func (ev *evaluation) places(ctx context.Context, r *rule, v *voice, escalated bool) (counts bool, blind string) {
	v.needs = make([]bool, len(r.Approve.Needs))
	instead := no
	if escalated {
		instead, blind = ev.memberOfAny(ctx, r.Approve.Escalate.To, v.person)
	}
	for i, need := range r.Approve.Needs {
		is, group := yes, ""
		if instead != yes {
			is, group = ev.memberOfAny(ctx, need.From, v.person)
		}
		v.needs[i] = is == yes
		counts = counts || is == yes
		if is == unseen {
			blind = group
		}
	}
	if instead == yes {
		blind = ""
	}
	return counts, blind
}

// outsider says why somebody does not count who is in none of the groups.
func (ev *evaluation) outsider(ctx context.Context, r *rule, v voice, escalated bool) string {
	if e := r.Approve.Escalate; e != nil && !escalated {
		if is, _ := ev.memberOfAny(ctx, e.To, v.person); is == yes {
			return "may decide from " + clock(ev.began().Add(e.After)) + " on, when nobody else did"
		}
	}
	return "belongs to none of " + strings.Join(everybody(r.Approve, escalated), ", ")
}

// everybody are all groups whose people may decide.
func everybody(a *Approve, escalated bool) []string {
	var all []string
	add := func(groups []string) {
		for _, group := range groups {
			if !slices.Contains(all, group) {
				all = append(all, group)
			}
		}
	}
	for _, need := range a.Needs {
		add(need.From)
	}
	if escalated {
		add(a.Escalate.To)
	}
	return all
}

// sorted are decisions in the order in which they were made. Of two of the same
// moment a denial is the later one.
func sorted(decisions []approvals.Decision) []approvals.Decision {
	out := slices.Clone(decisions)
	slices.SortStableFunc(out, func(a, b approvals.Decision) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		if (a.Verdict == approvals.Approve) != (b.Verdict == approvals.Approve) {
			if a.Verdict == approvals.Approve {
				return -1
			}
			return 1
		}
		return strings.Compare(a.By.Identity, b.By.Identity)
	})
	return out
}

func keys(m map[string]voice) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// fill gives the people who agree to the needs, each to one, so that as few
// places as can be stay open, and tells whether none does.
func (ev *evaluation) fill(r *rule, said voices, out *approvals.RuleOutcome) bool {
	needs := r.Approve.Needs
	out.Groups = make([]approvals.GroupOutcome, len(needs))
	filled := make([][]int, len(needs)) // by need, the indices of who fills it
	for i, need := range needs {
		from := slices.Clone(need.From)
		if out.Escalated {
			for _, group := range r.Approve.Escalate.To {
				if !slices.Contains(from, group) {
					from = append(from, group)
				}
			}
		}
		out.Groups[i] = approvals.GroupOutcome{Count: max(need.Count, 1), From: from}
	}
	for i := range said.approve {
		place(said.approve, i, out.Groups, filled, make([]bool, len(needs)))
	}
	met := true
	for i := range needs {
		group := &out.Groups[i]
		for _, j := range filled[i] {
			group.By = append(group.By, said.approve[j].Name)
		}
		group.Missing = group.Count - len(filled[i])
		met = met && group.Missing == 0
	}
	for _, v := range said.approve { // those whom a full house needs no more, for people to see
		if at := slices.Index(v.needs, true); !placed(said.approve, filled, v) {
			out.Groups[at].By = append(out.Groups[at].By, v.Name)
		}
	}
	for _, v := range said.deny {
		at := slices.Index(v.needs, true)
		out.Groups[at].Against = append(out.Groups[at].Against, v.Name)
	}
	return met
}

// place finds a place for voice i, moving others to their other places where
// that makes one free: an augmenting path of a bipartite matching.
func place(all []voice, i int, groups []approvals.GroupOutcome, filled [][]int, tried []bool) bool {
	for n, can := range all[i].needs {
		if !can || tried[n] {
			continue
		}
		tried[n] = true
		if len(filled[n]) < groups[n].Count {
			filled[n] = append(filled[n], i)
			return true
		}
		for k, other := range filled[n] {
			if place(all, other, groups, filled, tried) {
				filled[n][k] = i
				return true
			}
		}
	}
	return false
}

func placed(all []voice, filled [][]int, v voice) bool {
	return slices.ContainsFunc(filled, func(who []int) bool {
		return slices.ContainsFunc(who, func(j int) bool { return all[j].ID == v.ID })
	})
}

// schedule says when a waiting request is looked at next for a rule's sake.
func (ev *evaluation) schedule(a *Approve, start, deadline time.Time, blind bool, out *approvals.RuleOutcome) {
	if ev.now.Before(deadline) {
		ev.wake(deadline)
	}
	if a.Escalate != nil && !out.Escalated {
		ev.wake(start.Add(a.Escalate.After))
	}
	if a.Remind > 0 && ev.now.After(start) {
		out.Reminders = int(earlier(ev.now, deadline).Sub(start) / a.Remind)
	}
	if a.Remind > 0 {
		if next := start.Add(time.Duration(out.Reminders+1) * a.Remind); next.Before(deadline) {
			out.RemindAt = next
			ev.wake(next)
		}
	}
	if blind {
		ev.lookAgain()
	}
}
