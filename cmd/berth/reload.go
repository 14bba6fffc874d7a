package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/configs"
)

// configEvery is how often Berth looks whether its config is another: a
// ConfigMap that Kubernetes mounts changes without a signal. A file is taken up
// once it was found the same twice, since it may be half written.
const configEvery = time.Second

// inForce is the config that is in force, and what became of later ones.
type inForce struct {
	path string

	mu    sync.Mutex
	cfg   *configs.Config
	sum   [sha256.Size]byte // of the file as it was read last, right or wrong
	seen  [sha256.Size]byte // of the file at the last look
	since time.Time
	fault string // why the file as it is now is not in force
	rules string // the version of the policies

	others []string // replicas that go by other policies
}

// newInForce is the config that Berth starts with.
func newInForce(path string, cfg *configs.Config) *inForce {
	f := &inForce{path: path, cfg: cfg, since: time.Now()}
	f.sum, _ = fileSum(path) // one that cannot be read now is read again in a moment
	return f
}

func fileSum(path string) ([sha256.Size]byte, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator says which file it is
	return sha256.Sum256(text), err
}

// check tells how the config is, for /readyz. An old config in force makes
// nothing unready.
func (f *inForce) check() bot.Check {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault != "" {
		return bot.Check{Name: "config", Detail: f.fault, Fix: "Run `berth config check`; until it is right, what was read before is in force."}
	}
	return bot.Check{Name: "config", OK: true, Detail: "as read at " + f.since.UTC().Format(time.RFC3339)}
}

// followConfig takes the config up anew when its file changes, and at once on
// SIGHUP, until ctx ends. One with faults changes nothing.
func (s *server) followConfig(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	for {
		told := false
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			told = true
		case <-tick.C:
		}
		sum, err := fileSum(s.config.path)
		if err != nil {
			s.config.unreadable(err)
			continue
		}
		if s.config.take(sum, told) {
			s.reload(ctx, told)
		}
	}
}

// take tells whether a file with this sum is to be read: one that is another than
// was read last and was the same at the look before, and any when told is true. It
// remembers that it was.
func (f *inForce) take(sum [sha256.Size]byte, told bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	due := told || f.seen == sum && f.sum != sum
	f.seen = sum
	if due {
		f.sum = sum
	}
	return due
}

// unreadable notes why the file cannot be read. Once it can be, it is read as one
// that has changed, since nobody saw what became of it.
func (f *inForce) unreadable(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fmt.Sprintf("the file cannot be read: %v", errors.Unwrap(err))
	f.sum, f.seen = [sha256.Size]byte{}, [sha256.Size]byte{}
}

func (f *inForce) wrong(fault string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// lost are the sections that decide who may do what and that a config has lost
// since it was read before. A file whose writer stopped half way looks like that,
// and without its policies all that waits would run.
func lost(was, is *configs.Config) error {
	var gone []string
	for name, section := range map[string][2]bool{
		"actors": {was.Actors != nil, is.Actors != nil}, "tokens": {was.Tokens != nil, is.Tokens != nil},
		"clusters": {was.Clusters != nil, is.Clusters != nil}, "apps": {was.Apps != nil, is.Apps != nil},
		"policies": {was.Policies != nil, is.Policies != nil},
	} {
		if section[0] && !section[1] {
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	slices.Sort(gone)
	return fmt.Errorf("the file has no %s any more, as if it were half written; if that is meant, send SIGHUP, or write it as empty (`policies: []`)", strings.Join(gone, " and no "))
}

// reload takes the file up as it is now. told means that somebody said so.
func (s *server) reload(ctx context.Context, told bool) {
	f := s.config
	cfg, apps, err := loadConfig(f.path)
	if err == nil && !told {
		err = lost(f.now(), cfg)
	}
	if err == nil {
		err = s.obey(cfg, apps)
	}
	if err != nil {
		s.log.ErrorContext(ctx, "the config has changed and cannot be taken up; what was read before stays in force", "error", err)
		f.wrong(err.Error())
		return
	}
	f.mu.Lock()
	was := f.cfg
	f.cfg, f.since, f.fault = cfg, time.Now(), ""
	f.mu.Unlock()
	changed, later := differences(was, cfg)
	s.log.InfoContext(ctx, "the config is taken up anew", "changed", changed)
	if len(later) > 0 {
		s.log.WarnContext(ctx, "some of the config takes effect at the next start only", "sections", later)
	}
	s.noteConfig(ctx, changed)
	if n, err := s.requests.Reconsider(ctx); err != nil {
		s.log.WarnContext(ctx, "what waits for approval was not weighed anew yet; it is before it runs", "error", err)
	} else if n > 0 {
		s.log.InfoContext(ctx, "what waits for approval is weighed anew", "requests", n)
	}
}

// obey makes cfg what decides from now on: who people are, what may be deployed
// and what needs whose agreement. It changes nothing when it returns an error.
func (s *server) obey(cfg *configs.Config, apps *catalog) error {
	rules, err := s.policies(cfg)
	if err != nil {
		return err
	}
	follow, err := s.orders(cfg)
	if err != nil {
		return err
	}
	if err := s.api.SetTokens(apiTokens(cfg)); err != nil {
		return err
	}
	if err := follow(); err != nil {
		return err
	}
	s.api.SetIssuers(apiIssuers(cfg))
	s.people.Reload(actorsOf(cfg), tokensOf(cfg))
	s.apps.replace(apps)
	s.requests.SetPolicy(rules)
	s.config.setRules(rules.Version())
	return nil
}

// policies makes the policy that a config describes.
func (s *server) policies(cfg *configs.Config) (*policy.Engine, error) {
	engine, err := newPolicies(cfg, s.people, s.groups(), s.store, s.requests, s.apps, s.clock.Now, s.log)
	if err != nil {
		return nil, usageError(fmt.Errorf("policies: %w", err))
	}
	return engine, nil
}

// groups are those that somebody else than the config knows, by their prefix.
func (s *server) groups() map[string]policy.Groups {
	groups := map[string]policy.Groups{}
	if s.github != nil {
		groups["github-team"], groups["codeowners"] = s.github.Team, s.github.CodeOwners
	}
	if s.chats.slack != nil {
		groups["slack-group"] = s.chats.slack.Groups()
	}
	if s.chats.discord != nil {
		groups["discord-role"] = s.chats.discord.Roles()
	}
	return groups
}

// noteConfig puts into the audit that other rules are in force.
func (s *server) noteConfig(ctx context.Context, changed []string) {
	err := s.store.Note(ctx, actions.Record{Kind: "config.loaded", Actor: "berth", Detail: map[string]string{
		"changed": strings.Join(changed, ", "), "policies": s.config.rulesVersion(),
	}})
	if err != nil {
		s.log.WarnContext(ctx, "that the config was taken up is not in the audit", "error", err)
	}
}

// now is the config that is in force.
func (f *inForce) now() *configs.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg
}

func (f *inForce) setRules(version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = version
}

func (f *inForce) rulesVersion() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rules
}

// differences are the sections in which two configs differ, and those of them
// that take effect at the next start only.
func differences(was, is *configs.Config) (changed, later []string) {
	slackToo, discordToo := chatLater(was, is)
	a, b := reflect.ValueOf(was).Elem(), reflect.ValueOf(is).Elem()
	for i := range a.NumField() {
		if reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			continue
		}
		name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
		changed = append(changed, name)
		switch name {
		case "server", "redis", "github", "plugins", "retention", "reconcile":
			later = append(later, name)
		case "slack":
			if slackToo {
				later = append(later, name)
			}
		case "discord":
			if discordToo {
				later = append(later, name)
			}
		}
	}
	return changed, later
}
