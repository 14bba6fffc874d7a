package people

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// CodeLife is how long a code can be used: time to change to another program.
	CodeLife = 10 * time.Minute
	// triesPerMinute is how many codes an identity may ask for, and try, in a
	// minute. With 80 random bits in a code it is the load that this bounds.
	triesPerMinute = 6
)

// codePattern is what a code looks like: four times four of the letters and
// digits of base 32.
var codePattern = regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`)

// newCode is a code of 80 random bits, to be typed by people.
func newCode() string {
	text := strings.ToLower(rand.Text())
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:16]
}

// pending is what a code stands for.
type pending struct {
	From string `json:"from"` // whose account it was given to
	To   string `json:"to"`   // the account that may use it
	Used bool   `json:"used,omitempty"`
}

// codeUse is a code as a change of links uses it up.
type codeUse struct{ key, content, used string }

// codeKey is where a code is kept. Only its hash is a name, so that who reads
// the names of keys learns no code, and no comparison tells how close one is.
func (p *People) codeKey(code string) string {
	sum := sha256.Sum256([]byte(code))
	return p.key("code:" + hex.EncodeToString(sum[:]))
}

// triedScript counts a try, and then keeps a code or reads one.
//
//	KEYS[1]  tries of the identity in this minute
//	KEYS[2]  the code
//	ARGV[1]  how many tries there may be
//	ARGV[2]  what the code stands for, "" to read it
//	ARGV[3]  how long it is kept, in milliseconds
//	output   {"many"}, or {"ok", what the code stands for or ""}
var triedScript = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
if n == 1 then redis.call('PEXPIRE', KEYS[1], 60000) end
if n > tonumber(ARGV[1]) then return {'many'} end
if ARGV[2] == '' then return {'ok', redis.call('GET', KEYS[2]) or ''} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'ok', ARGV[2]}
`)

// try counts a try of identity with a code, and keeps or reads what it stands for.
func (p *People) try(ctx context.Context, what, identity, code, content string) (string, error) {
	op := "people." + what
	keys := []string{p.key("tries:" + what + ":" + identity), p.codeKey(code)}
	answer, err := triedScript.Run(ctx, p.rdb, keys, triesPerMinute, content, CodeLife.Milliseconds()).StringSlice()
	if err != nil {
		return "", redisError(op, err)
	}
	if len(answer) < 2 {
		return "", actions.Errorf(op, actions.CodeForbidden, "%s tried too often; a code can be tried again in a minute.", identity)
	}
	return answer[1], nil
}

// Issue makes a code by which `to` shows that it belongs to the same person as
// by.Identity: typed by `to` within CodeLife, it links the two. It must be shown to
// by.Identity alone. It returns CodeInvalid for what is no other identity,
// CodeConflict for accounts that cannot be one person's, and CodeForbidden for
// too many tries.
func (p *People) Issue(ctx context.Context, by approvals.Requester, to string) (string, error) {
	const op = "people.issue"
	from, account := Canonical(by.Identity), Canonical(to)
	if from == "" || account == "" {
		return "", actions.Errorf(op, actions.CodeInvalid, "%q is no account; one is written github:ana.", to)
	}
	if strings.HasPrefix(account, actorPrefix) {
		return "", actions.Errorf(op, actions.CodeInvalid, "%q is somebody, and no account of theirs; name one, such as github:ana.", to)
	}
	if strings.HasPrefix(account, "token:") && p.named.Load().owners[account] == "" {
		return "", actions.Errorf(op, actions.CodeInvalid, "No token is configured for %q.", strings.TrimPrefix(account, "token:"))
	}
	sets, err := p.read(ctx, []string{from, account})
	if err != nil {
		return "", err
	}
	if _, err := p.named.Load().join(from, sets[from], account, sets[account]); err != nil {
		return "", err
	}
	content, err := json.Marshal(pending{From: from, To: account})
	if err != nil {
		return "", actions.Wrap(op, actions.CodeInternal, err, "The code could not be kept.")
	}
	code := p.code()
	_, err = p.try(ctx, "issue", from, code, string(content))
	return code, err
}

// Redeem links by.Identity, which typed a code, to the account that it was given
// to, and returns whose account it is now. The same code typed again by the same
// account is the same success. It returns CodeNotFound for a code that is none,
// or no more, or not for this account: which of these, it does not say.
func (p *People) Redeem(ctx context.Context, by approvals.Requester, at approvals.Place, code string) (approvals.Person, error) {
	const op = "people.redeem"
	id := Canonical(by.Identity)
	code = strings.ToLower(strings.TrimSpace(code))
	none := actions.Errorf(op, actions.CodeNotFound,
		"That code is not one for %s, or its %d minutes are over. Type `link %s` where you are known already, such as in a terminal, for a new one.", id, int(CodeLife.Minutes()), id)
	if id == "" || !codePattern.MatchString(code) {
		return approvals.Person{}, none
	}
	for range moveTries {
		content, err := p.try(ctx, "redeem", id, code, "")
		if err != nil {
			return approvals.Person{}, err
		}
		var is pending
		if content == "" || json.Unmarshal([]byte(content), &is) != nil || is.To != id {
			return approvals.Person{}, none
		}
		if is.Used {
			return p.again(ctx, is, none)
		}
		word, err := p.link(ctx, by, at, is, code, content)
		if err != nil {
			return approvals.Person{}, err
		}
		if word == "ok" {
			return p.Person(ctx, id)
		}
	}
	return approvals.Person{}, busy(op)
}

// link joins the two accounts of a code.
func (p *People) link(ctx context.Context, by approvals.Requester, at approvals.Place, is pending, code, content string) (string, error) {
	sets, err := p.read(ctx, []string{is.From, is.To})
	if err != nil {
		return "", err
	}
	joined, err := p.named.Load().join(is.From, sets[is.From], is.To, sets[is.To])
	if err != nil {
		return "", err
	}
	used := is
	used.Used = true
	text, err := json.Marshal(used)
	if err != nil {
		return "", actions.Wrap("people.redeem", actions.CodeInternal, err, "The code could not be used up.")
	}
	use := codeUse{key: p.codeKey(code), content: content, used: string(text)}
	return p.write(ctx, joined, sets, use, record("link.made", by, at, map[string]string{"account": is.To, "to": is.From}))
}

// again answers a used code: with the link that it made, while that stands.
func (p *People) again(ctx context.Context, is pending, none error) (approvals.Person, error) {
	sets, err := p.read(ctx, []string{is.To})
	if err != nil {
		return approvals.Person{}, err
	}
	if s := sets[is.To]; !s.has(is.From) || s.left(is.From) || s.left(is.To) {
		return approvals.Person{}, none
	}
	return p.Person(ctx, is.To)
}
