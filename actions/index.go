package actions

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The index leads from what environments are looked for by to their names. It is
// a hint: each reader looks at the records that it is led to, and takes those that
// are as wanted. What must hold is that no record is hidden: whatever a record
// says, the index leads to it by that.
//
// An index key cannot be changed together with a record, since they are in
// different slots of a Cluster. So a change goes by three steps, each of which is
// atomic:
//
//  1. propose: what the record is about to say is added, with the revision that
//     it will have. Nothing is taken out.
//  2. The record is written, if it still has the revision that it was read with.
//  3. settle: of what leads to the environment, all that was proposed for this
//     revision or an earlier one is taken out, but for what the record says. What
//     was proposed for a later one stays: somebody is about to write it.
//
// A crash between them, or a write that was refused, leaves a hint too many, which
// the next settling takes out; so does a reader that comes upon it. A settling
// that comes late finds that a later one has been there, and leaves all as it is.
const (
	// indexKey holds entries "ATTRIBUTE NAME", sorted, which the environments of
	// one attribute are a range of; see attributes.
	indexKey = keyPrefix + "{envs}:index"
	// hintsKey holds what leads to an environment, by name: a list of proposals,
	// each [revision, 1 when it is settled, attributes…].
	hintsKey = keyPrefix + "{envs}:hints"
	// indexedKey is there once the index is known to lead to all records.
	indexedKey = keyPrefix + "{envs}:indexed"
)

// attributes are what an environment is found by; one that is cleaned up is found
// by nothing. A letter says what each is:
//
//	l              it is not cleaned up
//	sSTATE         its state
//	xMILLISECONDS  when it expires, in 15 digits, which sort as the number does
//	rREPO          what it, or a component of it, is built from, in lower case
//	pNUMBER#REPO   the same, of a pull request
func attributes(e *Environment) []string {
	if e.State == StateNone || e.State == StateCleaned {
		return nil
	}
	all := []string{"l", "s" + string(e.State)}
	if !e.ExpiresAt.IsZero() {
		all = append(all, expiryAttribute(e.ExpiresAt))
	}
	from := func(repo string, number int) {
		if repo = repoAttribute(repo); repo != "" {
			all = append(all, "r"+repo)
		}
		if number > 0 {
			all = append(all, pullAttribute(number)+repo)
		}
	}
	from(e.Repo, e.PullRequest)
	for _, c := range e.Components {
		from(c.Repo, c.PullRequest)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func pullAttribute(number int) string { return "p" + strconv.Itoa(number) + "#" }

// repoAttribute is a repository's name as the index has it. No name of one has a
// space, which ends an attribute.
func repoAttribute(repo string) string {
	return strings.ToLower(strings.ReplaceAll(short(repo, maxDetail), " ", "+"))
}

// maxExpiry is the latest time that the index can tell from later ones.
const maxExpiry = 999_999_999_999_999

func expiryAttribute(t time.Time) string {
	return fmt.Sprintf("x%015d", min(max(t.UnixMilli(), 0), maxExpiry))
}

// luaIndex is what the scripts of the index share.
//
//	KEYS[1]  the index         KEYS[2]  what leads to each environment
//	ARGV[1]  the environment   ARGV[2]  the revision that its record has or gets
//	ARGV[3]…  its attributes then
const luaIndex = `
local name, revision = ARGV[1], tonumber(ARGV[2])
local text = redis.call('HGET', KEYS[2], name)
local hints = text and cjson.decode(text) or {}
local function mine(settled)
	local hint = {revision, settled}
	for i = 3, #ARGV do hint[i] = ARGV[i] end
	return hint
end
local function add()
	for i = 3, #ARGV do redis.call('ZADD', KEYS[1], 0, ARGV[i] .. ' ' .. name) end
end
`

// proposeScript adds what a record is about to say.
var proposeScript = NewLua(luaIndex + `
if #ARGV == 2 then return 0 end
add()
local told = mine(0)
for _, hint in ipairs(hints) do
	if hint[1] == revision and table.concat(hint, ' ', 3) == table.concat(told, ' ', 3) then return 0 end
end
table.insert(hints, told)
redis.call('HSET', KEYS[2], name, cjson.encode(hints))
return 1`)

// settleScript takes out what does not lead to what the record of that revision
// says.
var settleScript = NewLua(luaIndex + `
for _, hint in ipairs(hints) do
	if hint[2] == 1 and hint[1] > revision then return 0 end
end
add()
local kept, stays, gone = {}, {}, {}
if #ARGV > 2 then kept[1] = mine(1) end
for _, hint in ipairs(hints) do
	if hint[1] > revision then table.insert(kept, hint) else
		for i = 3, #hint do gone[hint[i]] = true end
	end
end
for _, hint in ipairs(kept) do
	for i = 3, #hint do stays[hint[i]] = true end
end
for attribute in pairs(gone) do
	if not stays[attribute] then redis.call('ZREM', KEYS[1], attribute .. ' ' .. name) end
end
if #kept > 0 then redis.call('HSET', KEYS[2], name, cjson.encode(kept)) else redis.call('HDEL', KEYS[2], name) end
return 1`)

// indexing is one of the scripts, as a command. It carries its text: what is sent
// ahead of others must not fail because Redis has forgotten it.
func indexing(ctx context.Context, script *Lua, name Name, revision int64, attributes []string) *redis.Cmd {
	args := []any{name.String(), revision}
	for _, a := range attributes {
		args = append(args, a)
	}
	return evalCmd(ctx, "eval", script.text, []string{indexKey, hintsKey}, args)
}

// proposal is what a writer does about the index.
type proposal struct {
	name       Name
	revision   int64 // that the record gets
	attributes []string
	known      bool // the index leads to it by these already, and by nothing else
}

// propose is what to do about the index when e is about to be written over the
// record of revision e.Revision-1.
func (s *Store) propose(name Name, e *Environment) proposal {
	p := proposal{name: name, revision: e.Revision, attributes: attributes(e)}
	p.known = s.settled.is(p.name, p.revision-1, p.attributes)
	return p
}

// ahead are the commands that come before the record is written.
func (p proposal) ahead(ctx context.Context) []redis.Cmder {
	var cmds []redis.Cmder
	if p.revision == 1 { // it is listed among all, for ever
		cmds = append(cmds, NewMember(ctx, "zadd", envsKey, p.name.String()))
	}
	if !p.known && len(p.attributes) > 0 {
		cmds = append(cmds, indexing(ctx, proposeScript, p.name, p.revision, p.attributes))
	}
	return cmds
}

// settle takes out of the index what does not lead to the record that was written,
// soon.
func (s *Store) settle(ctx context.Context, p proposal) {
	s.settled.note(p.name, p.revision, p.attributes)
	if p.known {
		return
	}
	ctx = context.WithoutCancel(ctx) // The change is stored, whatever becomes of who asked for it.
	s.pipe.Later([]redis.Cmder{indexing(ctx, settleScript, p.name, p.revision, p.attributes)}, func(err error) {
		s.log.WarnContext(ctx, "an environment is listed where it is no more", "env", p.name.String(), "error", err)
	})
}

// settledMost is how many environments a process remembers the hints of.
const settledMost = 8192

// settledHints remembers what the index says of the environments that this process
// has written last, so that a change that moves none of it costs nothing.
type settledHints struct {
	mu sync.Mutex
	m  map[Name]settledHint
}

type settledHint struct {
	revision   int64
	attributes []string
}

func (h *settledHints) is(name Name, revision int64, attributes []string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.m[name]
	return ok && known.revision == revision && slices.Equal(known.attributes, attributes)
}

func (h *settledHints) note(name Name, revision int64, attributes []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = make(map[Name]settledHint)
	}
	if known, ok := h.m[name]; ok && known.revision > revision {
		return
	} else if !ok && len(h.m) >= settledMost {
		for other := range h.m {
			delete(h.m, other)
			break
		}
	}
	h.m[name] = settledHint{revision, attributes}
}
