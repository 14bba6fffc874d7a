package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// rememberCard is how long it is known that a card said the end, so that what
	// arrives late makes no second one.
	rememberCard = 8 * 24 * time.Hour
	// findSkew is how far a platform's clock may be behind ours when a message is
	// looked for.
	findSkew = time.Minute
	// writeLease is how long one write of a card keeps others from it: longer than
	// any write takes.
	writeLease = shortWait + callTimeout + 3*time.Second
)

// keyCards are the open cards of an environment, by id: a set. keyCard is what is
// known of one: a hash. keyWriting is held while a message of it is written.
func keyCards(env string) string    { return keyPrefix + "cards:" + env }
func keyCard(id string) string      { return keyPrefix + "card:" + id }
func keyWriting(id string) string   { return keyPrefix + "writing:" + id }
func keyTold(request string) string { return keyPrefix + "told:" + request }

// cardID is the card of a request in a place: there is one at most. Channels are
// told apart without their workspace, which a route of the config leaves out.
func cardID(at bot.ChatPlace, request string) string {
	where := at.Channel
	if where == "" {
		where = at.Workspace + "/@" + at.User
	}
	if at.Thread != "" {
		where += "/" + at.Thread
	}
	return request + ":" + at.Platform + ":" + where
}

// The messages of a card, besides its news.
const (
	slotCard     = "card"
	slotProgress = "progress"
)

// written is a message as it was written last.
type written struct {
	Sent  bot.ChatSent `json:"sent,omitzero"`
	Sum   string       `json:"sum,omitempty"`   // of what it says
	Stage string       `json:"stage,omitempty"` // where what it tells of had come to; see draft
	At    time.Time    `json:"at,omitzero"`
	End   bool         `json:"end,omitempty"`   // it says how its request ended
	Begun time.Time    `json:"begun,omitzero"`  // it may have been posted since, and nobody was told
	Tries int          `json:"tries,omitempty"` // how often it was made anew
	Gone  bool         `json:"gone,omitempty"`  // it is written no more
	// Told is the news, by kind, that the message that may have been posted since
	// Begun tells by itself. Once it stands that is told.
	Told map[string]string `json:"told,omitempty"`
}

// card is what Redis knows of a card.
type card struct {
	id      string
	env     actions.Name
	request string
	asked   bot.ChatPlace // where it was to stand
	place   bot.ChatPlace // where it stands: elsewhere when Berth may not write there
	reply   string        // the message that it answers; "" for none
	slots   map[string]written
	told    map[string]string // by kind of news: the key of what was told last
	final   bool              // it is looked at no more
}

// loadCard reads a card; known is false when there is none.
func (s *Surface) loadCard(ctx context.Context, id string) (k *card, known bool, err error) {
	m, err := s.rdb.HGetAll(ctx, keyCard(id)).Result()
	if err != nil {
		return nil, false, storeError(err)
	}
	k = &card{id: id, slots: map[string]written{}, told: map[string]string{}, final: m["final"] == "1", request: m["request"], reply: m["reply"]}
	for field, value := range m {
		if kind, ok := strings.CutPrefix(field, "told:"); ok {
			k.told[kind] = value
		} else if slot, ok := strings.CutPrefix(field, "m:"); ok {
			var w written
			if json.Unmarshal([]byte(value), &w) == nil { // else it is looked for, and made anew
				k.slots[slot] = w
			}
		}
	}
	name, errName := actions.ParseName(m["env"])
	if errName != nil || json.Unmarshal([]byte(m["asked"]), &k.asked) != nil || json.Unmarshal([]byte(m["place"]), &k.place) != nil {
		return k, false, nil
	}
	k.env = name
	return k, true, nil
}

// openCard keeps a card before it is made, so that it is found again. It leaves
// what is known of it already.
func (s *Surface) openCard(ctx context.Context, k *card) error {
	place, err := json.Marshal(k.place)
	if err != nil {
		return err
	}
	_, err = s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSetNX(ctx, keyCard(k.id), "place", place)
		pipe.HSetNX(ctx, keyCard(k.id), "asked", place)
		pipe.HSetNX(ctx, keyCard(k.id), "env", k.env.String())
		pipe.HSetNX(ctx, keyCard(k.id), "request", k.request)
		if k.reply != "" {
			pipe.HSetNX(ctx, keyCard(k.id), "reply", k.reply)
		}
		pipe.SAdd(ctx, keyCards(k.env.String()), k.id)
		pipe.SAdd(ctx, keyWatched, k.env.String())
		return nil
	})
	return storeError(err)
}

// moveCard has a card stand at another place than it was asked for.
func (s *Surface) moveCard(ctx context.Context, k *card, to bot.ChatPlace) error {
	place, err := json.Marshal(to)
	if err != nil {
		return err
	}
	k.place = to
	return storeError(s.rdb.HSet(ctx, keyCard(k.id), "place", place).Err())
}

// saveSlot keeps what is known of a message, and with one that stands what it has
// told.
func (s *Surface) saveSlot(ctx context.Context, k *card, slot string, w written) error {
	var told map[string]string
	if w.Sent.ID != "" {
		told, w.Told = w.Told, nil
	}
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	fields := []any{"m:" + slot, text}
	for kind, key := range told {
		fields = append(fields, "told:"+kind, key)
		k.told[kind] = key
	}
	k.slots[slot] = w
	return storeError(s.rdb.HSet(context.WithoutCancel(ctx), keyCard(k.id), fields...).Err())
}

// saveTold keeps that a piece of news was told, or need not be.
func (s *Surface) saveTold(ctx context.Context, k *card, kind, key string) error {
	k.told[kind] = key
	return storeError(s.rdb.HSet(context.WithoutCancel(ctx), keyCard(k.id), "told:"+kind, key).Err())
}

// closeCard has a card looked at no more.
func (s *Surface) closeCard(ctx context.Context, k *card) error {
	ctx = context.WithoutCancel(ctx)
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.HSet(ctx, keyCard(k.id), "final", "1")
		pipe.Expire(ctx, keyCard(k.id), rememberCard)
		pipe.SRem(ctx, keyCards(k.env.String()), k.id)
		return nil
	})
	k.final = true
	return storeError(err)
}

// unwatchScript forgets an environment that has no open cards.
//
//	KEYS  1 its open cards, 2 the environments that have such
//	ARGV  1 its name
var unwatchScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], ARGV[1]) end
return 0`)

func (s *Surface) unwatch(ctx context.Context, name actions.Name) error {
	return storeError(unwatchScript.Run(ctx, s.rdb, []string{keyCards(name.String()), keyWatched}, name.String()).Err())
}

// giveBackScript ends a lease that is still its holder's.
//
//	KEYS  1 the lease
//	ARGV  1 its holder
var giveBackScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// writing keeps all others from writing the messages of a card while it does
// something, which must not take longer than writeLease. mine is false when
// somebody else is at it.
func (s *Surface) writing(ctx context.Context, id string, do func(ctx context.Context) error) (mine bool, err error) {
	holder := s.replica + "-" + strconv.FormatInt(s.budget.count.Add(1), 36)
	mine, err = s.rdb.SetNX(ctx, keyWriting(id), holder, writeLease).Result()
	if err != nil || !mine {
		return false, storeError(err)
	}
	defer func() {
		if err := giveBackScript.Run(context.WithoutCancel(ctx), s.rdb, []string{keyWriting(id)}, holder).Err(); err != nil {
			s.log.DebugContext(ctx, "a card's lease was not given back; it ends by itself", "card", id, "error", err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, writeLease-time.Second)
	defer cancel()
	return true, do(ctx)
}

// sumOf is the same for messages that look the same.
func sumOf(m bot.ChatMessage) (string, error) {
	m.Call, m.ReplyTo = nil, ""
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// postKey finds a message again. It is of 24 characters, which every platform
// takes.
func postKey(id, slot string, tries int) string {
	sum := sha256.Sum256([]byte(id + "\n" + slot + "\n" + strconv.Itoa(tries)))
	return hex.EncodeToString(sum[:12])
}

// storeError is an error of Redis, nil when there is none.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	return unavailable("chat.card", err)
}
