package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

const (
	// livesWithin is how long the last actions on environments may take to end
	// once the storm is over.
	livesWithin = 8 * time.Minute
	// hands is how many people do things to environments at once.
	hands = 12
)

// livesOptions are what one chaos of environments is made of.
type livesOptions struct {
	environments int
	actions      int // on each, on average
	seed         uint64
	berth        string // path of the program; berth-helm is beside it
	devcluster   string // path of the program
	chart        string // path of the chart
}

// lives is one chaos of environments: three replicas with the Helm executor, on
// two clusters.
type lives struct {
	options  livesOptions
	dir      string
	out      *teller
	token    string
	store    *store
	clusters []*cluster
	replicas []*replica
	kills    struct {
		sync.Mutex
		replicas, plugins, clusters int
		redis                       []string
		troubles                    map[string]int
	}
	deeds deeds
	sight sight
}

// livesApps are what is deployed: one in each cluster, and one that can be in
// both. What fails is taken back in one of them and stays in the others.
const livesApps = `  red:
    cluster: one
    run_within: 5m
    allow_set: [image.tag, replicaCount]
    parts: [{name: web, use: helm, on_failure: rollback, with: %[1]s}]
  blue:
    cluster: two
    run_within: 5m
    allow_set: [image.tag, replicaCount]
    parts: [{name: web, use: helm, with: %[1]s}]
  both:
    clusters: [one, two]
    run_within: 5m
    allow_set: [image.tag, replicaCount]
    parts: [{name: web, use: helm, on_failure: cleanup, with: %[1]s}]
`

// livesPart is the part of each app: a program with a volume.
const livesPart = `{chart: %q, pin_images: false, timeout: 90s, fail_fast: 3s, values: {persistence: {enabled: true}}}`

// runLives plays a chaos of environments from start to end. Its error is what
// broke.
func runLives(ctx context.Context, o livesOptions, out io.Writer) error {
	dir, err := os.MkdirTemp("", "berth-lives-")
	if err != nil {
		return err
	}
	l := &lives{options: o, dir: dir, out: newTeller(out), token: rand.Text()}
	l.kills.troubles = map[string]int{}
	err = l.play(ctx)
	l.close()
	if err != nil {
		return fmt.Errorf("%w\nIt was seed %d; logs and data are in %s", err, o.seed, dir)
	}
	return os.RemoveAll(dir)
}

// open starts Redis, the clusters and the replicas.
func (l *lives) open(ctx context.Context) (err error) {
	if l.store, err = newStore(ctx, l.dir); err != nil {
		return err
	}
	for _, name := range []string{"one", "two"} {
		c, err := newCluster(ctx, name, l.options.devcluster, l.dir)
		l.clusters = append(l.clusters, c)
		if err != nil {
			return err
		}
	}
	l.replicas, err = startReplicas(ctx, replicaPlan{dir: l.dir, redis: l.store.addr, berth: l.options.berth, config: l.config})
	if err != nil {
		return err
	}
	l.out.step("three replicas run on one Redis, with two clusters of their own; seed %d", l.options.seed)
	return nil
}

// config is the berth.yaml of a replica.
func (l *lives) config(addr, dir, redis string) string {
	hash := sha256.Sum256([]byte(l.token))
	part := fmt.Sprintf(livesPart, l.options.chart)
	return fmt.Sprintf(`server: {listen: %q, data_dir: %q}
redis: {addrs: [%q]}
tokens: [{actor: dev, sha256: %q, roles: [deployer]}]
clusters: {one: {kubeconfig: %q}, two: {kubeconfig: %q}}
reconcile: {every: 1m}
apps:
%s`, addr, filepath.Join(dir, "data"), redis, hex.EncodeToString(hash[:]), l.clusters[0].kubeconfig, l.clusters[1].kubeconfig, fmt.Sprintf(livesApps, part))
}

// play lets people live with their environments while everything breaks, then
// looks at what came of it.
func (l *lives) play(ctx context.Context) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	began := time.Now()
	storm, calm := context.WithCancel(ctx)
	defer calm()
	broken := make(chan error, 8)
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{l.killReplicas, l.killPlugins, l.troubleLines, l.restartRedis, l.restartClusters, l.watch} {
		parts.Go(func() {
			if err := part(storm); err != nil && storm.Err() == nil {
				broken <- err
				calm()
			}
		})
	}
	l.live(storm)
	asked := time.Since(began)
	l.out.step("%d actions on %d environments were asked for; the storm ends", l.deeds.count(), l.options.environments)
	calm()
	parts.Wait()
	if err := errOf(broken); err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	return errors.Join(l.judge(ctx, asked, time.Since(began)))
}

// settle waits until everything that was asked for has ended.
func (l *lives) settle(ctx context.Context) error {
	store := actions.NewStore(l.store.client, actions.StoreOptions{})
	client := newClient(l.token)
	left := "nothing was seen yet"
	err := await(ctx, livesWithin, "the actions to end", func() (bool, error) {
		pass(ctx, 500*time.Millisecond)
		open := 0
		all, err := client.requests(ctx, l.replicas[0].url, "")
		if err != nil {
			left = err.Error()
			return false, ctx.Err()
		}
		for _, q := range all {
			if q.EndedAt == nil {
				open++
				left = fmt.Sprintf("request %s (%s) is %s", q.ID, q.Command, q.State)
			}
		}
		envs, err := environments(ctx, store)
		if err != nil {
			left = err.Error()
			return false, ctx.Err()
		}
		for _, env := range envs {
			if env.State.Pending() {
				open++
				left = fmt.Sprintf("%s is %s", env.Name, env.State)
			}
		}
		return open == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, left)
	}
	return nil
}

// environments are all records, those of what is gone too.
func environments(ctx context.Context, store *actions.Store) (all []*actions.Environment, err error) {
	for cursor := ""; ; {
		page, next, err := store.Environments(ctx, actions.EnvFilter{All: true, Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if cursor = next; cursor == "" {
			return all, nil
		}
	}
}

// close ends everything.
func (l *lives) close() {
	var stops sync.WaitGroup
	for _, r := range l.replicas {
		stops.Go(func() {
			if r.process != nil {
				if err := r.stop(); err != nil {
					l.out.step("%v", err)
				}
			}
			r.line.close()
		})
	}
	stops.Wait()
	for _, c := range l.clusters {
		stops.Go(c.close)
	}
	stops.Wait()
	if l.store != nil {
		l.store.close()
	}
}

// random is a source for one part of the chaos.
func (l *lives) random(part string, n int) *mrand.Rand {
	return mrand.New(mrand.NewPCG(l.options.seed, hashOf(fmt.Sprint(part, n)))) //nolint:gosec // it is to be repeatable
}
