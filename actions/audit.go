package actions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	auditKey     = "audit"
	auditHeadKey = "audit:head"
	// auditCutKey holds the checkpoint: "SEQ HASH" of the last record that
	// retention removed. Record n is at index n-1-SEQ of the list.
	auditCutKey = "audit:cut"
	// maxSeq is the greatest whole number that Redis' scripts count exactly.
	maxSeq = 1<<53 - 1
	// maxDetail is the longest value, in bytes, that a record's Detail keeps. A
	// record says that something happened; the run's log says how.
	maxDetail = 512
)

// Record is one audit record of one environment, or of Berth itself when Env is
// BerthChain. Records of an environment form a chain: each holds the hash of the
// one before it.
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

// seal is the record completed as the one that follows head ("SEQ HASH"), and
// its text.
func (r Record) seal(head string) (Record, []byte, error) {
	at, ok := parseMark(head)
	if !ok {
		return r, nil, Wrap("audit.append", CodeInternal, fmt.Errorf("head of %s is %q", r.Env, clip(head)),
			fmt.Sprintf("The head of the audit of %s cannot be read; somebody wrote over it.", ChainName(r.Env)))
	}
	r.Seq, r.Prev, r.Time = at.seq+1, at.hash, r.Time.UTC().Round(0)
	for _, field := range []*string{&r.Kind, &r.Actor, &r.Identity, &r.Surface, &r.Address, &r.RequestID, &r.RunID, &r.Digest} {
		if !plain(*field) {
			*field = short(*field, maxDetail)
		}
	}
	r.Detail = shortDetail(r.Detail)
	return r.hashed()
}

// hashed is the record with the hash that it must have, and its text.
func (r Record) hashed() (Record, []byte, error) {
	r.Hash = ""
	text, err := r.text()
	if err != nil {
		return r, nil, Wrap("audit.hash", CodeInternal, err, "An audit record could not be written.")
	}
	sum := sha256.Sum256(text)
	r.Hash = hex.EncodeToString(sum[:])
	// "hash" is the last member, so that it need not all be written again.
	return r, append(append(text[:len(text)-1], `,"hash":"`+r.Hash...), `"}`...), nil
}

func (r Record) head() string { return mark{r.Seq, r.Hash}.String() }

// mark is a place in a chain: the number of a record and its hash. The zero mark
// is the place before the first record.
type mark struct {
	seq  int64
	hash string
}

// String is "SEQ HASH", and "" for the zero mark.
func (m mark) String() string {
	if m == (mark{}) {
		return ""
	}
	return strconv.FormatInt(m.seq, 10) + " " + m.hash
}

// parseMark reads what String wrote.
func parseMark(text string) (mark, bool) {
	if text == "" {
		return mark{}, true
	}
	number, hash, _ := strings.Cut(text, " ")
	seq, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seq < 1 || seq > maxSeq || len(hash) != hex.EncodedLen(sha256.Size) {
		return mark{}, false
	}
	return mark{seq, hash}, true
}

// short is s in valid UTF-8, cut with a visible sign to at most most bytes.
func short(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	const sign = "…"
	return strings.ToValidUTF8(s[:most-len(sign)], "") + sign
}

// auditScript reads a page of a chain, and where the chain begins, at one moment.
//
//	KEYS[1]  the chain
//	KEYS[2]  its checkpoint, "SEQ HASH" of the last record that retention removed
//	ARGV[1]  the number that the records come after
//	ARGV[2]  how many
//	output   {the checkpoint, or ""; records…}
var auditScript = redis.NewScript(`
local cut = redis.call('GET', KEYS[2]) or ''
local gone = tonumber(cut:match('^%d+') or '0')
local from = math.max(tonumber(ARGV[1]) - gone, 0)
local out = redis.call('LRANGE', KEYS[1], from, from + tonumber(ARGV[2]) - 1)
table.insert(out, 1, cut)
return out`)

// auditPage is the most records that one read of a chain gives.
const auditPage = 1000

// page reads up to limit records after the one numbered after, as they are
// stored, and the chain's checkpoint at that moment.
func (s *Store) page(ctx context.Context, list, cut string, after int64, limit int) (texts []string, at mark, err error) {
	reply, err := auditScript.Run(ctx, s.rdb, []string{list, cut}, after, limit).StringSlice()
	if err != nil {
		return nil, at, redisError("store.audit", err)
	}
	if len(reply) == 0 {
		return nil, at, Errorf("store.audit", CodeInternal, "Redis gave an unexpected answer.")
	}
	at, _ = parseMark(reply[0])
	return reply[1:], at, nil
}

// Audit returns up to limit records of env with a Seq greater than after, the
// oldest first. limit is at most 1000, which is also what 0 means. Records that
// retention removed are passed over. BerthChain is the chain of what belongs to
// no environment.
//
// When a record cannot be read, it returns those before it, and an error of
// CodeInternal that wraps an *AuditBreak which names it.
func (s *Store) Audit(ctx context.Context, env Name, after int64, limit int) ([]Record, error) {
	records, _, err := s.AuditFrom(ctx, env, after, limit)
	return records, err
}

// AuditFrom is Audit that also returns where it came to: the number of the place
// after which the next call goes on, whatever stands in the records themselves.
// It is that of the record that cannot be read when there is one, so that the
// others can be read all the same, and after when nothing could be read at all.
func (s *Store) AuditFrom(ctx context.Context, env Name, after int64, limit int) (records []Record, to int64, err error) {
	const op = "store.audit"
	if limit <= 0 || limit > auditPage {
		limit = auditPage
	}
	after = min(max(after, 0), maxSeq)
	texts, cut, err := s.page(ctx, s.Key(env, auditKey), s.Key(env, auditCutKey), after, limit)
	if wrongType(err) {
		what := "cannot be read, nor can any after it: a key of the chain holds something else"
		return nil, after, unread(op, AuditBreak{Env: env, Seq: after + 1, What: what})
	}
	if err != nil {
		return nil, after, err
	}
	to = max(after, cut.seq)
	records = make([]Record, len(texts))
	for i, text := range texts {
		to++
		if err := json.Unmarshal([]byte(text), &records[i]); err != nil {
			return records[:i], to, unread(op, AuditBreak{Env: env, Seq: to, What: "cannot be read: what stands in its place is no record"})
		}
	}
	return records, to, nil
}

// unread is the error that b was met while records were read.
func unread(op string, b AuditBreak) error {
	return Wrap(op, CodeInternal, &b, sentence(&b)+" `berth audit verify` tells what else is not as it was written.")
}
