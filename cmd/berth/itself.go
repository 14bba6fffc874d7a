package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/notify"
	"github.com/berth-dev/berth/bot/reconcile"
	"github.com/berth-dev/berth/bot/schedule"
	"github.com/berth-dev/berth/configs"
)

// itself is what Berth does without anybody asking: it tells people, does what
// schedules say, and compares its records with the world.
type itself struct {
	notifier   *notify.Notifier
	scheduler  *schedule.Scheduler
	reconciler *reconcile.Reconciler // nil when the config says never
}

// openItself makes all of it. Nothing of it works before run.
func (s *server) openItself(cfg *configs.Config, runner *actions.Runner) error {
	routes, outlets, err := s.notices(cfg)
	if err != nil {
		return usageError(err)
	}
	s.itself.notifier = notify.New(notify.Options{
		Redis: s.redis, Routes: routes, Outlets: outlets, Changes: s.store, Requests: s.requests, Now: s.clock.Now, Log: s.log,
	})
	schedules, err := schedulesOf(cfg)
	if err != nil {
		return usageError(err)
	}
	s.itself.scheduler, err = schedule.New(schedule.Options{
		Store: s.store, Requests: s.requests, Catalog: s.apps, Redis: s.redis, Notifier: s.itself.notifier, Schedules: schedules,
		Replica: s.replica, Now: s.clock.Now, Log: s.log,
	})
	if err != nil {
		return usageError(err)
	}
	if cfg.Reconcile.Every <= 0 {
		return nil
	}
	o := reconcile.Options{
		Store: s.store, Requests: s.requests, Catalog: s.apps, Executors: s.host, Runner: runner, Notifier: s.itself.notifier, Redis: s.redis,
		Clusters: s.clusters, Every: time.Duration(cfg.Reconcile.Every), MaxDeletions: cfg.Reconcile.MaxDeletions, Orphans: cfg.Reconcile.Orphans,
		Replica: s.replica, Now: s.clock.Now, Log: s.log,
	}
	if s.github != nil {
		o.Pulls = s.github
	}
	if s.itself.reconciler, err = reconcile.New(o); err != nil {
		return usageError(err)
	}
	return nil
}

// run does it until ctx ends.
func (i *itself) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return i.notifier.Run(ctx) })
	group.Go(func() error { return i.scheduler.Run(ctx) })
	if i.reconciler != nil {
		group.Go(func() error { return i.reconciler.Run(ctx) })
	}
}

// orders reads the config's routes and schedules. follow takes them up anew.
func (s *server) orders(cfg *configs.Config) (follow func() error, err error) {
	routes, outlets, err := s.notices(cfg)
	if err != nil {
		return nil, err
	}
	schedules, err := schedulesOf(cfg)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := s.itself.scheduler.Replace(schedules); err != nil {
			return err // it was taken for right when the config was read, by the same rules
		}
		s.itself.notifier.Replace(routes, outlets)
		return nil
	}, nil
}

// clusters are those of the config as it is now.
func (s *server) clusters() []actions.Cluster {
	var all []actions.Cluster
	for name, c := range s.config.now().Clusters {
		all = append(all, clusterAs(name, c))
	}
	return all
}

// notices copies the routes out of the config, with an outlet for each of their
// surfaces.
func (s *server) notices(cfg *configs.Config) ([]notify.Route, map[string]notify.Outlet, error) {
	outlets, hooks := map[string]notify.Outlet{}, map[string]notify.Hook{}
	var routes []notify.Route
	for i, r := range cfg.Notifications {
		route := notify.Route{Apps: r.Apps, Events: r.Events, Severity: bot.Severity(r.Severity)}
		for j, to := range r.To {
			target := notify.Target{Outlet: to.Surface, Channel: to.Place()}
			if to.Surface == notify.OutletWebhook {
				hook, err := hookOf(to)
				if err != nil {
					return nil, nil, fmt.Errorf("notifications[%d].to[%d]: %w", i, j, err)
				}
				hooks[target.Channel] = hook
			}
			route.To = append(route.To, target)
		}
		routes = append(routes, route)
	}
	if len(hooks) > 0 {
		outlets[notify.OutletWebhook] = notify.NewWebhooks(hooks, s.clock.Now)
	}
	if s.github != nil {
		outlets[notify.OutletHome] = notify.OutletFunc(func(ctx context.Context, _ string, n bot.Notice) error { return s.github.Tell(ctx, n) })
		outlets[notify.OutletGitHub] = notify.OutletFunc(s.github.TellIn)
	}
	s.chats.outlets(func(name string, o notify.Outlet) { outlets[name] = o })
	return routes, outlets, nil
}

// hookOf reads where a webhook goes.
func hookOf(o configs.Outlet) (notify.Hook, error) {
	address, err := o.URL.Value()
	if err != nil {
		return notify.Hook{}, fmt.Errorf("url: %w", err)
	}
	secret, err := o.Secret.Value()
	if err != nil {
		return notify.Hook{}, fmt.Errorf("secret: %w", err)
	}
	return notify.Hook{URL: address, Secret: secret}, nil
}

// schedulesOf copies the schedules out of the config, with their conditions.
func schedulesOf(c *configs.Config) ([]schedule.Schedule, error) {
	var all []schedule.Schedule
	for i, s := range c.Schedules {
		where, err := policy.Compile(s.Where)
		if err != nil {
			return nil, fmt.Errorf("schedules[%d].where: %w", i, err)
		}
		made := schedule.Schedule{
			Name: s.Name, Cron: s.Cron, TimeZone: s.TimeZone, Verb: actions.Verb(s.Verb), Where: where, Apps: slices.Clone(s.Apps),
			CatchUp: schedule.CatchUp(s.CatchUp), Reason: s.Reason,
		}
		for _, warn := range s.Warn {
			made.Warn = append(made.Warn, time.Duration(warn))
		}
		all = append(all, made)
	}
	return all, nil
}

// checkSchedules finds the faults of schedules' conditions.
func checkSchedules(c *configs.Config) configs.Faults {
	var faults configs.Faults
	for i, s := range c.Schedules {
		if _, err := policy.Compile(s.Where); err != nil {
			faults = append(faults, configs.Fault{Path: fmt.Sprintf("schedules[%d].where", i), Msg: err.Error()})
		}
	}
	return faults
}
