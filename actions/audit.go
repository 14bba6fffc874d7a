package actions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	auditKey     = "audit"
	auditHeadKey = "audit:head"
	// maxDetail is the longest value, in bytes, that a record's Detail keeps. A
	// record says that something happened; the run's log says how.
	maxDetail = 512
)

// Record is one audit record of one environment. Records of an environment form
// a chain: each holds the hash of the one before it.
//
// Hash is SHA-256, in lower-case hex, over the record's JSON without its "hash"
// member: the members in the order of this struct, no white space, empty
// strings and maps left out, Detail's keys sorted, as encoding/json writes it.
type Record struct {
	Seq       int64             `json:"seq"` // 1 for the first of an environment
	Time      time.Time         `json:"time"`
	Env       Name              `json:"environment"`
	Kind      string            `json:"kind"`                 // "request.submitted", "run.step.done"
	Actor     string            `json:"actor,omitempty"`      // who did it, or had it done
	Identity  string            `json:"identity,omitempty"`   // "github:ana"
	Surface   string            `json:"surface,omitempty"`    // where it was asked for
	Address   string            `json:"address,omitempty"`    // the remote address
	RequestID string            `json:"request_id,omitempty"` // what it belongs to
	RunID     string            `json:"run_id,omitempty"`
	Digest    string            `json:"digest,omitempty"` // of the plan
	Detail    map[string]string `json:"detail,omitempty"` // short, and never a secret
	Prev      string            `json:"prev,omitempty"`   // Hash of the record before; "" for the first
	Hash      string            `json:"hash,omitempty"`
}

// after is the record completed as the one that follows head ("SEQ HASH").
func (r Record) after(head string) (Record, error) {
	seq, hash := int64(0), ""
	if head != "" {
		number, rest, _ := strings.Cut(head, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || len(rest) != hex.EncodedLen(sha256.Size) {
			return r, Wrap("audit.append", CodeInternal, fmt.Errorf("head of %s is %q", r.Env, clip(head)),
				fmt.Sprintf("The head of the audit of %s cannot be read; somebody wrote over it.", r.Env))
		}
		seq, hash = n, rest
	}
	r.Seq, r.Prev, r.Time = seq+1, hash, r.Time.UTC().Round(0)
	for _, field := range []*string{&r.Kind, &r.Actor, &r.Identity, &r.Surface, &r.Address, &r.RequestID, &r.RunID, &r.Digest} {
		*field = short(*field, maxDetail)
	}
	detail := make(map[string]string, len(r.Detail))
	for k, v := range r.Detail {
		detail[short(k, maxDetail)] = short(v, maxDetail)
	}
	r.Detail = detail
	sum, err := r.sum()
	r.Hash = sum
	return r, err
}

// sum is what Hash must be.
func (r Record) sum() (string, error) {
	r.Hash = ""
	text, err := json.Marshal(r)
	if err != nil {
		return "", Wrap("audit.sum", CodeInternal, err, "An audit record could not be written.")
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

func (r Record) canonical() ([]byte, error) { return json.Marshal(r) }

func (r Record) head() string { return strconv.FormatInt(r.Seq, 10) + " " + r.Hash }

// short is s in valid UTF-8, cut with a visible sign to at most most bytes.
func short(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	const sign = "…"
	return strings.ToValidUTF8(s[:most-len(sign)], "") + sign
}

// Audit returns up to limit records of env with a Seq greater than after, the
// oldest first. limit is at most 1000, which is also what 0 means.
func (s *Store) Audit(ctx context.Context, env Name, after int64, limit int) ([]Record, error) {
	const op, most = "store.audit", 1000
	if limit <= 0 || limit > most {
		limit = most
	}
	after = max(after, 0)
	texts, err := s.rdb.LRange(ctx, s.Key(env, auditKey), after, after+int64(limit)-1).Result()
	if err != nil {
		return nil, redisError(op, err)
	}
	records := make([]Record, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal([]byte(text), &records[i]); err != nil {
			return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("Record %d of the audit of %s cannot be read.", after+int64(i)+1, env))
		}
	}
	return records, nil
}

// AuditBreak is where an audit chain stops being what was written.
type AuditBreak struct {
	Env  Name
	Seq  int64  // of the first record that is not as it was written
	What string // "is missing", "was changed", "is out of order", "was added"
}

func (b *AuditBreak) Error() string {
	return fmt.Sprintf("record %d of the audit of %s %s", b.Seq, b.Env, b.What)
}

// VerifyAudit checks the whole chain of env and returns nil when every record
// is there, in order and unchanged. Else the error has CodeConflict and wraps
// an *AuditBreak that names the first record that is not.
//
// A chain shows what was done to some of it. Somebody who can write to Redis
// and computes every later hash and the head anew is shown only by a copy of
// the head that is kept elsewhere.
func (s *Store) VerifyAudit(ctx context.Context, env Name) error {
	const op, page = "store.verify_audit", 1000
	var head *redis.StringCmd
	var length *redis.IntCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		head, length = p.Get(ctx, s.Key(env, auditHeadKey)), p.LLen(ctx, s.Key(env, auditKey))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return redisError(op, err)
	}
	c := chainCheck{env: env}
	for c.next = 1; c.next <= length.Val(); {
		texts, err := s.rdb.LRange(ctx, s.Key(env, auditKey), c.next-1, min(c.next-1+page, length.Val())-1).Result()
		if err != nil {
			return redisError(op, err)
		}
		if len(texts) == 0 { // somebody cut the list while it was read
			return c.fail(op, c.next, "is missing")
		}
		for _, text := range texts {
			if seq, what := c.step(text); what != "" {
				return c.fail(op, seq, what)
			}
		}
	}
	if seq, what := c.end(head.Val()); what != "" {
		return c.fail(op, seq, what)
	}
	return nil
}

// chainCheck walks a chain.
type chainCheck struct {
	env  Name
	next int64  // the Seq that must come now
	prev string // the Hash of the record before it
}

// step looks at the record that stands where c.next must. It returns the number
// of the first record at fault and what is wrong with it, or "".
func (c *chainCheck) step(text string) (int64, string) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return c.next, "was changed"
	}
	sum, err := r.sum()
	again, errAgain := r.canonical()
	switch {
	case err != nil || errAgain != nil || sum != r.Hash || !bytes.Equal(again, []byte(text)) || r.Env != c.env:
		return c.next, "was changed"
	case r.Seq > c.next:
		return c.next, fmt.Sprintf("is missing or out of order: record %d stands in its place", r.Seq)
	case r.Seq < c.next:
		return c.next, fmt.Sprintf("is out of order: record %d stands in its place", r.Seq)
	case r.Prev != c.prev && c.next == 1:
		return 1, "was changed"
	case r.Prev != c.prev:
		return c.next - 1, fmt.Sprintf("was changed: record %d does not follow it", c.next)
	}
	c.next, c.prev = c.next+1, r.Hash
	return 0, ""
}

// end compares the chain's end with its head.
func (c *chainCheck) end(head string) (int64, string) {
	last := c.next - 1
	if head == "" {
		if last == 0 {
			return 0, ""
		}
		return last, "has no head that vouches for it"
	}
	number, hash, _ := strings.Cut(head, " ")
	seq, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil:
		return last, "has no head that vouches for it"
	case seq > last:
		return last + 1, "is missing"
	case seq < last:
		return seq + 1, "was added"
	case hash != c.prev:
		return last, "was changed"
	}
	return 0, ""
}

func (c *chainCheck) fail(op string, seq int64, what string) error {
	b := &AuditBreak{Env: c.env, Seq: seq, What: what}
	return Wrap(op, CodeConflict, b, fmt.Sprintf("Record %d of the audit of %s %s.", seq, c.env, what))
}
