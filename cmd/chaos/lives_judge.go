package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

// ownedBy is the label of what Berth made for an app's environment.
const ownedBy = "berth.dev/app"

// sight is what the chaos saw in the clusters while it went on: which volumes
// there were.
type sight struct {
	mu     sync.Mutex
	claims map[string]map[string]bool // "cluster/namespace" → uids
}

func (s *sight) note(cluster string, claims []corev1.PersistentVolumeClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims == nil {
		s.claims = map[string]map[string]bool{}
	}
	for _, c := range claims {
		key := cluster + "/" + c.Namespace
		if s.claims[key] == nil {
			s.claims[key] = map[string]bool{}
		}
		s.claims[key][string(c.UID)] = true
	}
}

// watch notes which volumes there are, again and again. A cluster that is away is
// looked at later.
func (l *lives) watch(ctx context.Context) error {
	for pass(ctx, time.Second) {
		for _, c := range l.clusters {
			look, cancel := context.WithTimeout(ctx, 3*time.Second)
			claims, err := c.client.CoreV1().PersistentVolumeClaims("").List(look, metav1.ListOptions{})
			cancel()
			if err == nil {
				l.sight.note(c.name, claims.Items)
			}
		}
	}
	return nil
}

// scenery is what a cluster holds in the end.
type scenery struct {
	namespaces  map[string]corev1.Namespace
	deployments map[string][]appsv1.Deployment            // by namespace
	claims      map[string][]corev1.PersistentVolumeClaim // by namespace
}

func (c *cluster) scenery(ctx context.Context) (scenery, error) {
	s := scenery{namespaces: map[string]corev1.Namespace{}, deployments: map[string][]appsv1.Deployment{}, claims: map[string][]corev1.PersistentVolumeClaim{}}
	namespaces, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: ownedBy})
	if err != nil {
		return s, err
	}
	for _, ns := range namespaces.Items {
		s.namespaces[ns.Name] = ns
	}
	deployments, err := c.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, err
	}
	for _, d := range deployments.Items {
		s.deployments[d.Namespace] = append(s.deployments[d.Namespace], d)
	}
	claims, err := c.client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return s, err
	}
	for _, claim := range claims.Items {
		s.claims[claim.Namespace] = append(s.claims[claim.Namespace], claim)
	}
	return s, nil
}

// verdictOn is everything that there is to judge by.
type verdictOn struct {
	envs     []*actions.Environment
	clusters map[string]scenery
	requests map[string][]api.Request // by environment
	store    *actions.Store
}

// judge compares the records with the clusters and prints the figures.
func (l *lives) judge(ctx context.Context, asked, took time.Duration) error {
	v := verdictOn{clusters: map[string]scenery{}, requests: map[string][]api.Request{}, store: actions.NewStore(l.store.client, actions.StoreOptions{})}
	var err error
	if v.envs, err = environments(ctx, v.store); err != nil {
		return err
	}
	all, err := newClient(l.token).requests(ctx, l.replicas[0].url, "")
	if err != nil {
		return err
	}
	for _, q := range all {
		name := q.App + "/" + q.Environment
		if strings.Contains(q.Environment, "/") {
			name = q.Environment
		}
		v.requests[name] = append(v.requests[name], q)
	}
	for _, c := range l.clusters {
		if v.clusters[c.name], err = c.scenery(ctx); err != nil {
			return err
		}
	}
	l.tell(v, all, asked, took)
	var faults []error
	for _, check := range []struct {
		says string
		find func(context.Context, verdictOn) []string
	}{
		{"every environment is in a state that lasts", permanent},
		{"its cluster holds what its record says", matches},
		{"nothing is there that no environment accounts for", orphans},
		{"no data went that nobody asked to take away", l.kept},
		{"histories explain what runs", explained},
		{"the audit chains verify", verified},
	} {
		found := check.find(ctx, v)
		if len(found) == 0 {
			l.out.step("ok      %s", check.says)
			continue
		}
		l.out.step("BROKEN  %s: %d times not", check.says, len(found))
		for _, f := range found[:min(len(found), mostTold)] {
			l.out.figure("", "%s", f)
		}
		faults = append(faults, fmt.Errorf("not so: %s", check.says))
	}
	return errors.Join(faults...)
}

func permanent(_ context.Context, v verdictOn) (faults []string) {
	for _, env := range v.envs {
		if env.State.Pending() || env.RunID != "" {
			faults = append(faults, fmt.Sprintf("%s is %s, held by run %q", env.Name, env.State, env.RunID))
		}
	}
	return faults
}

// matches compares each record with the cluster that it names.
func matches(_ context.Context, v verdictOn) (faults []string) {
	for _, env := range v.envs {
		for name, s := range v.clusters {
			fault := func(format string, args ...any) {
				faults = append(faults, fmt.Sprintf("%s, %s in %s: ", env.Name, env.State, name)+fmt.Sprintf(format, args...))
			}
			_, there := s.namespaces[env.Namespace]
			if name != env.Cluster || env.State == actions.StateCleaned {
				if there {
					fault("there is a namespace %s of it", env.Namespace)
				}
				continue
			}
			deployments, claims := s.deployments[env.Namespace], s.claims[env.Namespace]
			switch {
			case env.State == actions.StateFailure:
			case len(claims) != 1:
				fault("it has %d volumes", len(claims))
			case env.State == actions.StateArchived && len(deployments) > 0:
				fault("%s runs", deployments[0].Name)
			case env.State == actions.StateArchived:
			case len(deployments) != 1:
				fault("it has %d deployments", len(deployments))
			case env.Mixed: // its last update ended halfway, and it says so
			default:
				runs(env, deployments[0], fault)
			}
		}
	}
	return faults
}

// runs compares what runs with what was deployed.
func runs(env *actions.Environment, d appsv1.Deployment, fault func(string, ...any)) {
	want, tag := int32(1), env.Set["image.tag"]
	if n := env.Set["replicaCount"]; n == "2" {
		want = 2
	}
	if env.Sleeping {
		want = 0
	}
	if have := *d.Spec.Replicas; have != want {
		fault("it has %d replicas, not %d (sleeping: %t)", have, want, env.Sleeping)
	}
	if image := d.Spec.Template.Spec.Containers[0].Image; tag != "" && !strings.HasSuffix(image, ":"+tag) {
		fault("it runs %s, not %s", image, tag)
	}
	if d.Status.ReadyReplicas != want {
		fault("%d of %d replicas are ready", d.Status.ReadyReplicas, want)
	}
}

// orphans finds namespaces of Berth's that no living environment has.
func orphans(_ context.Context, v verdictOn) (faults []string) {
	living := map[string]bool{}
	for _, env := range v.envs {
		if env.State != actions.StateCleaned {
			living[env.Cluster+"/"+env.Namespace] = true
		}
	}
	for name, s := range v.clusters {
		for ns := range s.namespaces {
			if !living[name+"/"+ns] {
				faults = append(faults, fmt.Sprintf("namespace %s in %s is nobody's", ns, name))
			}
		}
	}
	return faults
}

// kept counts the volumes that an environment had: a second one means that the
// first was taken away, which somebody must have asked for.
func (l *lives) kept(_ context.Context, v verdictOn) (faults []string) {
	for name, s := range v.clusters {
		for _, claims := range s.claims {
			l.sight.note(name, claims)
		}
	}
	for _, env := range v.envs {
		reasons := 0
		for _, q := range v.requests[env.Name.String()] {
			undone := q.State == "failed" || q.State == "cancelled"
			if q.Verb == "cleanup" || undone && env.Name.App != "blue" {
				reasons++
			}
		}
		had := 0
		for _, c := range l.clusters {
			had += len(l.sight.claims[c.name+"/"+env.Namespace])
		}
		if had > reasons+1 {
			faults = append(faults, fmt.Sprintf("%s had %d volumes, and only %d actions that may take one away", env.Name, had, reasons))
		}
	}
	return faults
}

// explained sees that the newest good revision of a history is the one that the
// record says.
func explained(ctx context.Context, v verdictOn) (faults []string) {
	for _, env := range v.envs {
		entries, err := v.store.History(ctx, env.Name, 0)
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", env.Name, err))
			continue
		}
		newest := 0
		for _, e := range entries {
			newest = max(newest, e.Revision)
		}
		if newest != env.Deployed {
			faults = append(faults, fmt.Sprintf("%s is at revision %d, and its history goes up to %d", env.Name, env.Deployed, newest))
		}
	}
	return faults
}

func verified(ctx context.Context, v verdictOn) (faults []string) {
	_, err := v.store.VerifyAll(ctx, "", func(b actions.AuditBreak) { faults = append(faults, fmt.Sprint(b)) })
	if err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

// tell prints what happened, in numbers.
func (l *lives) tell(v verdictOn, all []api.Request, asked, took time.Duration) {
	f := l.out.figure
	states, ended := map[string]int{}, map[string]int{}
	for _, env := range v.envs {
		state := string(env.State)
		if env.Sleeping {
			state += " (asleep)"
		}
		states[state]++
	}
	for _, q := range all {
		ended[q.Verb+" "+q.State]++
	}
	l.kills.Lock()
	defer l.kills.Unlock()
	f("environments", "%d: %s", len(v.envs), counts(states))
	f("actions", "%d requests over %.0f s, at rest after %.0f s: %s", len(all), asked.Seconds(), took.Seconds(), counts(l.deeds.verbs))
	f("how they ended", "%s", counts(ended))
	f("killed", "%d replicas, %d executors (kill -9)", l.kills.replicas, l.kills.plugins)
	f("control planes", "%d times stopped or killed, and started again", l.kills.clusters)
	f("Redis restarted", "%d times: %s", len(l.kills.redis), strings.Join(l.kills.redis, ", "))
	f("network", "%s", counts(l.kills.troubles))
}
