package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// maxAccounts is how many accounts can be linked to each other.
	maxAccounts = 20
	// leftFor is how long an account that was taken away again still counts as the
	// same person, so that nobody decides twice on one request by parting with an
	// account in between. Few requests wait that long.
	leftFor = 30 * 24 * time.Hour
)

// set are accounts of one person, linked to each other. Each of them leads to
// the same set.
type set struct {
	// Accounts are in the order in which they came. The first one's identity is
	// the person's id unless the config names one.
	Accounts []string `json:"accounts"`
	// Left are those of Accounts that were taken away again, and when.
	Left map[string]time.Time `json:"left,omitempty"`

	read string // the text that it was read from, "" when there was none
}

func (s set) has(id string) bool  { return slices.Contains(s.Accounts, id) }
func (s set) left(id string) bool { return !s.Left[id].IsZero() }

// fresh is s without the accounts that left long ago.
func (s set) fresh(now time.Time) set {
	out := set{read: s.read}
	for _, id := range s.Accounts {
		if at := s.Left[id]; at.IsZero() {
			out.Accounts = append(out.Accounts, id)
		} else if now.Sub(at) < leftFor {
			out.Accounts = append(out.Accounts, id)
			out.mark(id, at)
		}
	}
	return out
}

func (s *set) mark(id string, at time.Time) {
	if s.Left == nil {
		s.Left = map[string]time.Time{}
	}
	s.Left[id] = at
}

// key is a key of this package. All share the hash tag of what belongs to no
// environment, whose audit chain links are recorded in.
func (p *People) key(suffix string) string { return p.store.Key(actions.BerthChain, "people:"+suffix) }

// read reads the sets of identities; it is empty for those without links.
func (p *People) read(ctx context.Context, identities []string) (map[string]set, error) {
	const op = "people.read"
	texts, err := p.rdb.HMGet(ctx, p.key("links"), identities...).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	out := make(map[string]set, len(identities))
	for i, id := range identities {
		text, _ := texts[i].(string)
		s := set{read: text}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				return nil, actions.Wrap(op, actions.CodeInternal, err, fmt.Sprintf("The links of %s cannot be read; somebody wrote over them.", id))
			}
			if s = s.fresh(p.now()); !s.has(id) {
				s = set{read: text} // it left long ago
			}
		}
		out[id] = s
	}
	return out, nil
}

// join is what becomes of two accounts' sets when they are linked. It returns
// CodeConflict when they cannot be one person's.
func (r *roster) join(a string, sa set, b string, sb set) (set, error) {
	const op = "people.link"
	if a == b {
		return set{}, actions.Errorf(op, actions.CodeInvalid, "%s is the account that asks; name another one of yours.", a)
	}
	if x, y := r.owner(a, sa), r.owner(b, sb); x != "" && y != "" && x != y {
		return set{}, actions.Errorf(op, actions.CodeConflict,
			"%s is %s's account and %s is %s's, as Berth's config says, so they cannot be one person's. If they are, somebody who keeps Berth's config can put both under one of `actors`.", a, x, b, y)
	}
	for _, one := range []struct {
		id     string
		set    set
		others string
	}{{a, sa, b}, {b, sb, a}} {
		if one.set.left(one.id) && !one.set.has(one.others) {
			return set{}, actions.Errorf(op, actions.CodeConflict, "%s was another person's account until %s, and still counts as theirs until %s; it can be linked then.",
				one.id, day(one.set.Left[one.id]), day(one.set.Left[one.id].Add(leftFor)))
		}
	}
	joined, live := set{}, 0
	for _, s := range []set{sa, {Accounts: []string{a}}, sb, {Accounts: []string{b}}} {
		for _, id := range s.Accounts {
			if joined.has(id) {
				continue
			}
			joined.Accounts = append(joined.Accounts, id)
			if at := max(unix(sa.Left[id]), unix(sb.Left[id])); at != 0 && id != a && id != b {
				joined.mark(id, time.Unix(at, 0).UTC())
			} else {
				live++
			}
		}
	}
	if live > maxAccounts {
		return set{}, actions.Errorf(op, actions.CodeConflict, "One person can link %d accounts; take one away with `link remove` first.", maxAccounts)
	}
	return joined, nil
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// setLinks writes one set for all its accounts, if nothing of it has changed.
//
//	K[1]  links: the set by identity
//	K[2]  a code, or "" for a change that needs none
//	A[1]  the code's content, "" for none
//	A[2]  what the code's content becomes: that it is used
//	A[3]  how many identities with what was read of them follow, as pairs
//	…     then the set, and the identities that it is written for
//	output "ok", "moved" when a set changed, "gone" when the code did
var setLinks = actions.NewScript(`
if A[1] ~= '' and redis.call('GET', K[2]) ~= A[1] then return 'gone' end
local n = tonumber(A[3])
for i = 1, n do
	if (redis.call('HGET', K[1], A[2 * i + 2]) or '') ~= A[2 * i + 3] then return 'moved' end
end
local text = A[2 * n + 4]
for i = 2 * n + 5, #A do redis.call('HSET', K[1], A[i], text) end
if A[1] ~= '' then redis.call('SET', K[2], A[2], 'KEEPTTL') end
audit()
return 'ok'
`)

// write writes a set. was are the sets that it was made of, by identity.
func (p *People) write(ctx context.Context, next set, was map[string]set, code codeUse, rec actions.Record) (string, error) {
	text, err := json.Marshal(next)
	if err != nil {
		return "", actions.Wrap("people.write", actions.CodeInternal, err, "The links could not be written.")
	}
	args := []any{code.content, code.used, len(was)}
	for id, s := range was {
		args = append(args, id, s.read)
	}
	args = append(args, text)
	for _, id := range next.Accounts {
		args = append(args, id)
	}
	codeKey := code.key
	if codeKey == "" {
		codeKey = p.key("code:")
	}
	answer, err := p.store.Exec(ctx, actions.BerthChain, setLinks, []string{p.key("links"), codeKey}, args, rec)
	if err != nil {
		return "", err
	}
	word, _ := answer.(string)
	return word, nil
}

// record is the start of the audit record of a change that by makes at a place.
func record(kind string, by approvals.Requester, at approvals.Place, detail map[string]string) actions.Record {
	return actions.Record{Kind: kind, Actor: by.Actor, Identity: by.Identity, Surface: at.Surface, Address: at.Address, Detail: detail}
}

// moveTries bounds how often a change is tried anew after somebody else changed
// the same links first.
const moveTries = 10

// Remove takes an account away from the person whose account by.Identity is. For
// a month it still counts as theirs where decisions are counted, without their
// roles. It returns CodeNotFound for one that is not linked to them, and
// CodeForbidden for one that the config gives them.
func (p *People) Remove(ctx context.Context, by approvals.Requester, at approvals.Place, account string) error {
	const op = "people.remove"
	account = Canonical(account)
	for range moveTries {
		person, err := p.Person(ctx, by.Identity)
		if err != nil {
			return err
		}
		sets, err := p.read(ctx, []string{account})
		if err != nil {
			return err
		}
		s := sets[account]
		theirs := slices.Contains(person.Identities, account) && !s.left(account)
		switch {
		case theirs && p.named.Load().owners[account] != "":
			return actions.Errorf(op, actions.CodeForbidden, "%s is yours by Berth's config; somebody who keeps it can take it away under `actors`.", account)
		case !theirs || len(s.Accounts) < 2:
			return actions.Errorf(op, actions.CodeNotFound, "%s is not linked to you; `link` shows what is.", account)
		}
		next := set{Accounts: s.Accounts}
		for id, at := range s.Left {
			next.mark(id, at)
		}
		next.mark(account, p.now().UTC().Truncate(time.Second))
		word, err := p.write(ctx, next, sets, codeUse{}, record("link.removed", by, at, map[string]string{"account": account, "person": person.ID}))
		if err != nil || word == "ok" {
			return err
		}
	}
	return busy(op)
}

func busy(op string) error {
	return &actions.Error{Op: op, Code: actions.CodeConflict, Retry: true, Msg: "These accounts are being linked from elsewhere just now; try again in a moment."}
}

// redisError turns a failure of the client into an Error.
func redisError(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return actions.Wrap(op, actions.CodeCancelled, err, "It was stopped before Redis answered.")
	}
	if asked, ok := errors.AsType[redis.Error](err); ok && strings.HasPrefix(asked.Error(), "WRONGTYPE") {
		return actions.Wrap(op, actions.CodeInternal, err, "Redis refused what Berth asked of it; Berth's log says what.")
	}
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: "Redis did not answer; try again in a moment.", Err: err, Retry: true}
}
