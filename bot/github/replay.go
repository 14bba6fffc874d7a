package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
	"github.com/redis/go-redis/v9"
)

const (
	// webhookPath is where Berth takes deliveries in.
	webhookPath = "/webhooks/github"
	// keptDeliveries is how long GitHub keeps what it delivered, or could not.
	// Source: https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	keptDeliveries = 3 * 24 * time.Hour
	// lookOverlap is how far a look reaches back before the one before it: GitHub
	// lists a delivery some time after it began.
	lookOverlap = 10 * time.Minute
	// firstLook is how far the first look at a webhook reaches back.
	firstLook = time.Hour
	// staleCommand is when a command that never arrived is not carried out any
	// more: whoever typed it has long done something else.
	staleCommand = 6 * time.Hour
	// mostPages and mostFetched bound one look at one webhook. What is left, the
	// next look finds.
	mostPages   = 20
	mostFetched = 200
)

// hook is a webhook whose deliveries can be listed.
type hook struct {
	name string // "acme/shop webhook 12", or "the App's webhook"
	list func(ctx context.Context, cursor string) ([]*gh.HookDelivery, string, error)
	get  func(ctx context.Context, id int64) (*gh.HookDelivery, error)
}

// Replay fetches what GitHub tried to deliver since the last look and Berth does
// not have, and takes it in under the same id as if it had arrived. It returns
// how many deliveries that were. Webhooks whose deliveries Berth may not list are
// told of once and are no error: pull requests are compared all the same.
//
// The first look at a webhook takes in only what the last hour failed to deliver:
// whatever came before may have been another's to handle.
func (s *Surface) Replay(ctx context.Context) (replayed int, err error) {
	hooks, err := s.hooks(ctx)
	for _, h := range hooks {
		n, failed := s.replayHook(ctx, h)
		replayed += n
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", h.name, failed))
		}
	}
	return replayed, err
}

// hooks are the webhooks that deliver to Berth: the App's, or those of
// repositories.
func (s *Surface) hooks(ctx context.Context) (found []hook, err error) {
	if s.client.app != nil {
		return []hook{{name: "the App's webhook", list: s.client.appDeliveries, get: s.client.appDelivery}}, nil
	}
	for _, repo := range s.repos() {
		all, failed := s.client.repoHooks(ctx, repo)
		if status := statusOf(failed); status == http.StatusNotFound || status == http.StatusForbidden {
			s.sayOnce(ctx, "hooks of "+repo, "deliveries that never arrived cannot be fetched: GitHub does not let Berth see the webhooks; grant its token Webhooks: read (read:repo_hook of a classic one)", "repo", repo, "error", failed)
			continue
		}
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		for _, id := range s.ours(ctx, repo, all) {
			found = append(found, hook{
				name: fmt.Sprintf("%s webhook %d", repo, id),
				list: func(ctx context.Context, cursor string) ([]*gh.HookDelivery, string, error) {
					return s.client.repoDeliveries(ctx, repo, id, cursor)
				},
				get: func(ctx context.Context, delivery int64) (*gh.HookDelivery, error) {
					return s.client.repoDelivery(ctx, repo, id, delivery)
				},
			})
		}
	}
	return found, err
}

// repos are the repositories that apps name, those of components among them.
func (s *Surface) repos() (repos []string) {
	add := func(repo string) {
		if validRepo(repo) && !slices.ContainsFunc(repos, func(r string) bool { return strings.EqualFold(r, repo) }) {
			repos = append(repos, repo)
		}
	}
	for _, app := range s.catalog.Apps() {
		add(app.Repo)
		for _, c := range app.Components {
			add(c.Repo)
		}
	}
	slices.Sort(repos)
	return repos
}

// ours are those of a repository's webhooks that lead to this Berth: by its
// public address, or by the path alone where only one has it. Another Berth's
// deliveries are not ours to handle.
func (s *Surface) ours(ctx context.Context, repo string, all []*gh.Hook) []int64 {
	var exact, alike []int64
	for _, h := range all {
		address, err := url.Parse(h.GetConfig().GetURL())
		if err != nil || !h.GetActive() || !strings.HasSuffix(strings.TrimSuffix(address.Path, "/"), webhookPath) {
			continue
		}
		alike = append(alike, h.GetID())
		if s.public != "" && strings.TrimSuffix(h.GetConfig().GetURL(), "/") == s.public+webhookPath {
			exact = append(exact, h.GetID())
		}
	}
	if len(exact) > 0 {
		return exact
	}
	if len(alike) > 1 {
		s.sayOnce(ctx, "which of "+repo, "deliveries that never arrived are not fetched: several webhooks could lead to this Berth; set server.public_url to the address that one of them has", "repo", repo)
		return nil
	}
	return alike
}

// sayOnce logs something that somebody should put right, once in a process.
func (s *Surface) sayOnce(ctx context.Context, what, text string, args ...any) {
	if s.said.add(what) {
		s.log.WarnContext(ctx, text, args...)
	}
}

// replayHook takes in what one webhook could not deliver.
func (s *Surface) replayHook(ctx context.Context, h hook) (replayed int, err error) {
	begun := s.now()
	since, first, err := s.lookedAt(ctx, h, begun)
	if err != nil {
		return 0, err
	}
	missing, err := s.undelivered(ctx, h, since)
	if first {
		missing = slices.DeleteFunc(missing, func(d *gh.HookDelivery) bool { return d.GetStatusCode() >= 200 && d.GetStatusCode() < 300 })
	}
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusForbidden {
		s.sayOnce(ctx, "deliveries of "+h.name, "deliveries that never arrived cannot be fetched", "webhook", h.name, "error", err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	// The oldest first, as they would have come.
	slices.SortStableFunc(missing, func(a, b *gh.HookDelivery) int { return a.GetDeliveredAt().Compare(b.GetDeliveredAt().Time) })
	next := begun
	if len(missing) > mostFetched {
		missing = missing[:mostFetched]
		next = missing[mostFetched-1].GetDeliveredAt().Time
	}
	for _, d := range missing {
		fresh, err := s.fetch(ctx, h, d)
		if err != nil {
			return replayed, err // the next look begins where this one did
		}
		if fresh {
			replayed++
		}
	}
	return replayed, s.rdb.HSet(ctx, keyLooked, h.name, next.UnixMilli()).Err()
}

// lookedAt is since when deliveries of a webhook are to be looked at, and whether
// nobody did before.
func (s *Surface) lookedAt(ctx context.Context, h hook, now time.Time) (since time.Time, first bool, err error) {
	mark, err := s.rdb.HGet(ctx, keyLooked, h.name).Result()
	if errors.Is(err, redis.Nil) {
		return now.Add(-firstLook), true, nil
	}
	if err != nil {
		return since, false, err
	}
	ms, err := strconv.ParseInt(mark, 10, 64)
	if err != nil {
		return since, false, fmt.Errorf("the time of the last look is %q", clip(mark, 40))
	}
	since = time.UnixMilli(ms).Add(-lookOverlap)
	if oldest := now.Add(-keptDeliveries); since.Before(oldest) {
		since = oldest
	}
	return since, false, nil
}

// undelivered are the deliveries since then that Berth acts on and does not have,
// whatever GitHub thinks became of them.
func (s *Surface) undelivered(ctx context.Context, h hook, since time.Time) (missing []*gh.HookDelivery, err error) {
	seen := map[string]bool{}
	cursor := ""
	for range mostPages {
		page, next, err := h.list(ctx, cursor)
		if err != nil {
			return nil, err
		}
		var asked []*gh.HookDelivery
		old := false
		for _, d := range page {
			if d == nil || d.DeliveredAt == nil {
				continue
			}
			if d.GetDeliveredAt().Before(since) {
				old = true
				continue
			}
			guid := d.GetGUID()
			if slices.Contains(wanted, d.GetEvent()) && token(guid) && !seen[guid] {
				seen[guid] = true
				asked = append(asked, d)
			}
		}
		unknown, err := s.unknown(ctx, asked)
		if err != nil {
			return nil, err
		}
		missing = append(missing, unknown...)
		if cursor = next; next == "" || old {
			return missing, nil
		}
	}
	return missing, nil
}

// unknown are those among deliveries that were never stored.
func (s *Surface) unknown(ctx context.Context, all []*gh.HookDelivery) (unknown []*gh.HookDelivery, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	known := make([]*redis.IntCmd, len(all))
	if _, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, d := range all {
			known[i] = pipe.Exists(ctx, keyDelivery(d.GetGUID()))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for i, d := range all {
		if known[i].Val() == 0 {
			unknown = append(unknown, d)
		}
	}
	return unknown, nil
}

// fetch takes one delivery in.
func (s *Surface) fetch(ctx context.Context, h hook, d *gh.HookDelivery) (fresh bool, err error) {
	log := s.log.With("delivery_id", d.GetGUID(), "event", d.GetEvent(), "webhook", h.name)
	if d.GetEvent() == "issue_comment" && s.now().Sub(d.GetDeliveredAt().Time) > staleCommand {
		log.WarnContext(ctx, "a comment that never arrived is too old to be followed; its commands can be typed again", "at", d.GetDeliveredAt().Time)
		return false, nil
	}
	whole, err := h.get(ctx, d.GetID())
	if statusOf(err) == http.StatusNotFound {
		log.WarnContext(ctx, "a delivery that never arrived is not there any more", "error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if whole.GetRequest() == nil || whole.Request.RawPayload == nil || whole.GetGUID() != d.GetGUID() || whole.GetEvent() != d.GetEvent() {
		return false, fmt.Errorf("delivery %d: an answer that is no delivery", d.GetID())
	}
	body := []byte(*whole.Request.RawPayload)
	if len(body) > MaxPayload || !validObject(body) {
		log.ErrorContext(ctx, "a delivery that never arrived has a payload that cannot be read")
		return false, nil
	}
	fresh, err = s.mailbox.put(&letter{delivery: d.GetGUID(), event: d.GetEvent(), body: body, turn: make(chan turn, 1)}) //nolint:contextcheck // as in intake
	if fresh {
		log.InfoContext(ctx, "a delivery that never arrived was fetched", "status_code", d.GetStatusCode(), "at", d.GetDeliveredAt().Time)
	}
	return fresh, err
}

func (c *client) repoHooks(ctx context.Context, repo string) (all []*gh.Hook, err error) {
	err = c.do(ctx, call{what: "list the webhooks of", repo: repo}, func(ctx context.Context, at place) (err error) {
		all, _, err = at.Repositories.ListHooks(ctx, at.owner, at.name, &gh.ListOptions{PerPage: perPage})
		return err
	})
	return slices.DeleteFunc(all, func(h *gh.Hook) bool { return h == nil }), err
}

func (c *client) repoDeliveries(ctx context.Context, repo string, hook int64, cursor string) (page []*gh.HookDelivery, next string, err error) {
	err = c.do(ctx, call{what: fmt.Sprintf("list the deliveries of webhook %d of", hook), repo: repo}, func(ctx context.Context, at place) error {
		found, resp, err := at.Repositories.ListHookDeliveries(ctx, at.owner, at.name, hook, &gh.ListCursorOptions{PerPage: perPage, Cursor: cursor})
		page, next = found, cursorOf(resp)
		return err
	})
	return page, next, err
}

func (c *client) repoDelivery(ctx context.Context, repo string, hook, id int64) (found *gh.HookDelivery, err error) {
	err = c.do(ctx, call{what: fmt.Sprintf("get delivery %d of webhook %d of", id, hook), repo: repo}, func(ctx context.Context, at place) (err error) {
		found, _, err = at.Repositories.GetHookDelivery(ctx, at.owner, at.name, hook, id)
		return err
	})
	return found, err
}

func (c *client) appDeliveries(ctx context.Context, cursor string) (page []*gh.HookDelivery, next string, err error) {
	err = c.asApp(ctx, "list the deliveries of the App's webhook", func(ctx context.Context, api *gh.Client) error {
		found, resp, err := api.Apps.ListHookDeliveries(ctx, &gh.ListCursorOptions{PerPage: perPage, Cursor: cursor})
		page, next = found, cursorOf(resp)
		return err
	})
	return page, next, err
}

func (c *client) appDelivery(ctx context.Context, id int64) (found *gh.HookDelivery, err error) {
	err = c.asApp(ctx, fmt.Sprintf("get delivery %d of the App's webhook", id), func(ctx context.Context, api *gh.Client) (err error) {
		found, _, err = api.Apps.GetHookDelivery(ctx, id)
		return err
	})
	return found, err
}

// asApp performs a call as the App itself rather than as one of its
// installations.
func (c *client) asApp(ctx context.Context, what string, f func(context.Context, *gh.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const account = "app"
	if err := c.budget.spend(ctx, account, false, false); err != nil {
		return err
	}
	return c.failure(ctx, account, what, f(ctx, c.app.api))
}

// cursorOf is where the next page of a list begins, "" after the last.
func cursorOf(resp *gh.Response) string {
	if resp == nil {
		return ""
	}
	return cmp.Or(resp.Cursor, resp.After)
}
