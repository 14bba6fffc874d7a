package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/plugins/sdk"
)

// share is what one part has of the Redis server.
type share struct {
	db      *redis.Client
	address string
	name    string // of the user: shop:pr-42:cache
	owner   string // what the mark says
}

var word = regexp.MustCompile(`^[a-z0-9-]+$`)

// open connects with the executor's settings.
func (x executor) open(ctx context.Context, step sdk.Step) (*share, error) {
	for _, w := range []string{step.App, step.Env, step.Part} {
		if !word.MatchString(w) {
			return nil, sdk.Invalid("The name %q cannot be part of a Redis user's: it needs to be of a-z, 0-9 and \"-\".", w)
		}
	}
	s := &share{name: step.App + ":" + step.Env + ":" + step.Part}
	s.owner = strings.Join([]string{step.Installation, step.App, step.Env, step.Part}, " ")
	var err error
	s.db, s.address, err = x.connect(ctx, step.Settings)
	return s, err
}

func (x executor) connect(ctx context.Context, settings map[string]any) (*redis.Client, string, error) {
	o := &redis.Options{Dialer: x.dial, ContextTimeoutEnabled: true, DisableIdentity: true}
	o.Addr, _ = settings["address"].(string)
	o.Username, _ = settings["user"].(string)
	if o.Addr == "" {
		return nil, "", sdk.Invalid("The redis executor needs `address` in its settings: write it to Berth's config, under `plugins.redis.settings`.")
	}
	if settings["password"] != nil {
		var err error
		if o.Password, err = secret(ctx, settings["password"], "the administrator's password"); err != nil {
			return nil, "", err
		}
	}
	return redis.NewClient(o), o.Addr, nil
}

// secret looks up the value that a reference stands for. From then on the SDK
// hides it in all that the call of ctx tells.
func secret(ctx context.Context, v any, name string) (string, error) {
	ref, err := sdk.SecretOf(v, name)
	if err != nil {
		return "", err
	}
	return sdk.Secrets{Getenv: os.Getenv}.Value(ctx, sdk.Step{}, ref)
}

func (s *share) close() { _ = s.db.Close() }

func (s *share) prefix() string { return s.name + ":" }

// marks is what the names of all marks begin with. No app's name begins so.
const marks = "_berth:"

// mark is the key that says whose the user and the keys are.
func (s *share) mark() string { return marks + s.name }

// rules are what a user is to have.
type rules struct {
	text     string // fit to be seen
	password string // its SHA-256, in hex
	template string // not a rule, but decided in the same place
}

// wanted are the rules that a step asks for. Commands that reach beyond the
// prefix are left out: Redis does not hold SCAN and RANDOMKEY to key patterns.
func wanted(ctx context.Context, name string, step sdk.Step) (rules, error) {
	password, err := secret(ctx, step.With["password"], "the password of "+name)
	if err != nil {
		return rules{}, err
	}
	sum := sha256.Sum256([]byte(password))
	want := rules{
		text:     fmt.Sprintf("on ~%s:* &%s:* +@all -@admin -@dangerous -scan -randomkey -function", name, name),
		password: hex.EncodeToString(sum[:]),
	}
	want.template, _ = step.With["template"].(string)
	return want, nil
}

// all is the rules as ACL SETUSER takes them.
func (r rules) all() []string {
	return append([]string{"reset", "#" + r.password}, strings.Fields(r.text)...)
}

// state is what there is.
type state struct {
	owner, rules, seeded string // of the mark, "" without
	digest               string // of the user when its rules were given
	user                 *user  // nil when there is none
}

type user struct {
	password string // its SHA-256, in hex; "" for none, or several
	digest   string // of everything but the password
}

// has tells whether the user has exactly these rules.
func (s state) has(want rules) bool {
	return s.rules == want.text && s.user != nil && s.user.digest == s.digest && s.user.password == want.password
}

func (s *share) look(ctx context.Context) (state, error) {
	fields, err := s.db.HGetAll(ctx, s.mark()).Result()
	if err != nil {
		return state{}, away("The mark cannot be read", err)
	}
	now := state{owner: fields["owner"], rules: fields["rules"], seeded: fields["seeded"], digest: fields["user"]}
	now.user, err = s.user(ctx)
	return now, err
}

func (s *share) user(ctx context.Context) (*user, error) {
	found, err := s.db.Do(ctx, "ACL", "GETUSER", s.name).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, away("The user cannot be looked at", err)
	}
	about, ok := found.(map[any]any)
	if !ok {
		return nil, sdk.Internal("Redis tells of a user in a form that this executor does not know: %T.", found)
	}
	u := &user{}
	if passwords, _ := about["passwords"].([]any); len(passwords) == 1 {
		u.password, _ = passwords[0].(string)
	}
	delete(about, "passwords")
	sum := sha256.Sum256(fmt.Append(nil, about)) // maps are printed in order
	u.digest = hex.EncodeToString(sum[:])
	return u, nil
}

// mayHave refuses what is not marked as this environment's: that is never touched.
func (s *share) mayHave(now state) error {
	switch {
	case now.owner == "" && now.user != nil:
		return sdk.Invalid("Redis has a user %s that Berth did not make. Rename the part, or, if the user and its keys may become the environment's, mark them: HSET %s owner %q.", s.name, s.mark(), s.owner)
	case now.owner != "" && now.owner != s.owner:
		return sdk.Invalid("The Redis user %s belongs to another installation of Berth. Rename the app or the part in one of the two.", s.name)
	}
	return nil
}

// claim puts the mark there, if it may.
func (s *share) claim(ctx context.Context, now state) error {
	if err := s.mayHave(now); err != nil || now.owner == s.owner {
		return err
	}
	// Of two who find nothing there, one wins; the other one reads whose it is.
	tx := s.db.TxPipeline()
	tx.HSetNX(ctx, s.mark(), "owner", s.owner)
	tx.HSetNX(ctx, s.mark(), "created", time.Now().UTC().Format(time.RFC3339))
	owner := tx.HGet(ctx, s.mark(), "owner")
	if _, err := tx.Exec(ctx); err != nil {
		return away("The mark cannot be written", err)
	}
	return s.mayHave(state{owner: owner.Val()})
}
