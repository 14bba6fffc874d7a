package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// settled is how long something must have been seen, in two sweeps or more,
	// before it is taken for an orphan that can be cleaned up.
	settled = 10 * time.Minute
	// fewOrphans is how many environments' orphans are told of one by one.
	fewOrphans = 3
	// mostNamed is how many things a notice names.
	mostNamed = 20
	// system is who asks for what nobody in particular asked for.
	system = "berth"
	// place is where such requests come from.
	place = "reconcile"
)

// orphanDeletions tells of what no environment accounts for, and returns the
// cleanups that are due because of it.
func (s *sweep) orphanDeletions(ctx context.Context) (due []deletion, err error) {
	present := map[string]bool{}
	for _, cluster := range slices.Sorted(maps.Keys(s.found)) {
		if s.blindTo(clusterName(cluster)) {
			continue // one of two ways into it failed
		}
		var fresh []group
		for _, g := range s.found[cluster] {
			if present[g.key()] {
				continue
			}
			present[g.key()] = true
			s.report.Orphans++
			o, known := s.saved.orphans[g.key()]
			if !known {
				o = orphan{First: s.begun.UnixMilli()}
				s.saved.orphans[g.key()] = o
				if err := s.state.setJSON(ctx, s.lease.Token, fieldOrphan+g.key(), o); err != nil {
					return nil, err
				}
			}
			if !o.Told {
				fresh = append(fresh, g)
			}
			if known && s.o.Orphans == OrphansCleanup && !g.live && s.begun.Sub(time.UnixMilli(o.First)) >= settled {
				due = append(due, s.adoption(g, o))
			}
		}
		if err := s.tellOrphans(ctx, cluster, fresh); err != nil {
			return nil, err
		}
	}
	more, err := s.adopted(ctx, present)
	return append(due, more...), err
}

// adopted looks at what was known as an orphan and is none any more: the cleanup
// of those that were adopted may have to be asked for again; the others are
// forgotten, unless their cluster could not be seen.
func (s *sweep) adopted(ctx context.Context, present map[string]bool) (due []deletion, err error) {
	for _, key := range slices.Sorted(maps.Keys(s.saved.orphans)) {
		cluster, rest, _ := strings.Cut(key, "|")
		if _, seen := s.found[cluster]; present[key] || !seen || s.blindTo(clusterName(cluster)) {
			continue
		}
		o := s.saved.orphans[key]
		name, err := actions.ParseName(rest)
		k := s.envs[name]
		if err != nil || o.Asked == 0 || k == nil {
			if err := s.state.set(ctx, s.lease.Token, fieldOrphan+key, ""); err != nil {
				return nil, err
			}
			continue
		}
		again, wanted, err := s.wanted(ctx, name, time.UnixMilli(o.Asked).Add(-time.Second))
		if err != nil {
			return nil, err
		}
		if wanted && s.o.Orphans == OrphansCleanup {
			due = append(due, deletion{env: name, why: "nothing but leftovers in " + clusterName(cluster), hinges: []string{clusterName(cluster)},
				ask: func(ctx context.Context) (bool, error) { return s.cleanUp(ctx, name, cluster, o, again) }})
		}
	}
	return due, nil
}

// adoption is the cleanup of what no environment accounts for: it gets a record
// first, so that it goes like any environment does.
func (s *sweep) adoption(g group, o orphan) deletion {
	return deletion{
		env: g.env, why: fmt.Sprintf("%s in %s %s accounted for by no environment", count(len(g.owned), "thing"), clusterName(g.cluster), isAre(len(g.owned))),
		hinges: []string{clusterName(g.cluster)},
		ask: func(ctx context.Context) (bool, error) {
			if _, err := s.o.Catalog.App(g.env.App); err != nil {
				return false, nil // nobody knows how such an app is cleaned up; it was told
			}
			if o.Asked == 0 {
				// Before the record is there: with it, it is no orphan any more.
				o.Asked = s.begun.UnixMilli()
				if err := s.state.setJSON(ctx, s.lease.Token, fieldOrphan+g.key(), o); err != nil {
					return false, err
				}
			}
			_, err := s.o.Store.Adopt(ctx, g.env, g.owned, actions.Record{
				Kind: "environment.adopted", Actor: system, Surface: place,
				Detail: map[string]string{"cluster": g.cluster, "things": strconv.Itoa(len(g.owned))},
			})
			if actions.CodeOf(err) == actions.CodeConflict {
				return false, nil // somebody makes an environment of that name
			}
			if err != nil {
				return false, err
			}
			return s.cleanUp(ctx, g.env, g.cluster, o, "")
		},
	}
}

// cleanUp asks for the cleanup of what was adopted.
func (s *sweep) cleanUp(ctx context.Context, name actions.Name, cluster string, o orphan, again string) (bool, error) {
	r, _, err := s.o.Requests.Submit(ctx, approvals.Request{
		Order:   actions.Order{Env: name, Verb: actions.VerbCleanup, By: system, Reason: "no environment accounted for it"},
		Command: "cleanup " + name.String(), Requester: approvals.Requester{Actor: system},
		Place: approvals.Place{Surface: place, ID: cluster},
		Key:   strings.TrimSuffix(fmt.Sprintf("reconcile:orphan:%s:%d:%s", cluster, o.First, again), ":"),
	})
	return r != nil && !r.State.Ended(), err
}

// tellOrphans tells of a cluster's new orphans, once.
func (s *sweep) tellOrphans(ctx context.Context, cluster string, fresh []group) error {
	if len(fresh) == 0 {
		return nil
	}
	var bundles [][]group
	if len(fresh) > fewOrphans {
		bundles = [][]group{fresh}
	} else {
		for _, g := range fresh {
			bundles = append(bundles, []group{g})
		}
	}
	for _, groups := range bundles {
		if err := s.o.Notifier.Notify(ctx, s.orphanNotice(cluster, groups)); err != nil {
			return err
		}
		for _, g := range groups {
			o := s.saved.orphans[g.key()]
			o.Told = true
			s.saved.orphans[g.key()] = o
			if err := s.state.setJSON(ctx, s.lease.Token, fieldOrphan+g.key(), o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sweep) orphanNotice(cluster string, groups []group) bot.Notice {
	n := bot.Notice{Event: bot.EventOrphan, Severity: bot.SeverityWarning, At: s.begun}
	things, lines, key := 0, []string{}, []string{cluster}
	for _, g := range groups {
		things += len(g.owned)
		key = append(key, g.env.String(), strconv.FormatInt(s.saved.orphans[g.key()].First, 10))
		for _, o := range g.owned {
			if len(lines) < mostNamed {
				name := o.Name
				if o.Namespace != "" {
					name = o.Namespace + "/" + name
				}
				lines = append(lines, "- "+bot.Code(o.Kind+" "+name, 200)+" of "+bot.Code(g.env.String(), 100))
			}
		}
	}
	if left := things - len(lines); left > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", left))
	}
	whose := count(len(groups), "environment")
	if len(groups) == 1 {
		n.Env, whose = groups[0].env, groups[0].env.String()
	}
	n.Key = "reconcile:orphan:" + digest(key)
	n.Title = fmt.Sprintf("%s of %s in %s %s there, and no environment accounts for %s", count(things, "thing"), whose, clusterName(cluster), isAre(things), itThem(things))
	what := "Nothing is done about that: look what it is, and take it away by hand, or set `reconcile.orphans: cleanup` to have Berth ask for it."
	if s.o.Orphans == OrphansCleanup {
		what = "If it is still there in ten minutes, its cleanup is asked for, as a request that policies and people can stop. What an environment that exists does not account for stays until somebody takes it away by hand."
	}
	n.Text = strings.Join(lines, "\n") + "\n\nThis bears the marks of this Berth. " + what
	return n
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func itThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}
