package helm

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// labelInstance is the label that charts give to what a release makes.
// Source: https://helm.sh/docs/chart_best_practices/labels/
const labelInstance = "app.kubernetes.io/instance"

// looseSettings are the settings of a step that needs no chart. An environment
// that was found by its marks alone has none, nor has one whose part has lost its
// chart since.
func looseSettings(step sdk.Step) (settings, error) {
	if chart, _ := step.With["chart"].(string); strings.TrimSpace(chart) != "" {
		return readSettings(step)
	}
	with := maps.Clone(step.With)
	if with == nil {
		with = map[string]any{}
	}
	with["chart"] = "unknown"
	step.With = with
	s, err := readSettings(step)
	s.Chart = ""
	return s, err
}

// cleanup takes the part's releases away: their objects, claims and records, what
// an archive keeps, and the namespace if Berth made it and nothing else is in it.
// Each thing gets a receipt. The records go after the objects, so that an
// interrupted cleanup finds out again what there is.
func (x *Executor) cleanup(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	return timedOut(limited, ctx, ses.cleanup(limited, step))
}

func (s *session) cleanup(ctx context.Context, step sdk.Step) error {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return err
	}
	mine, err := s.marked(ctx, step)
	if err != nil {
		return err
	}
	s.kube.receipts = kube.NewReceipts()
	for _, name := range mine.releases {
		s.settings.Release = name
		if err := s.cleanRelease(ctx, step, mine); err != nil {
			return err
		}
	}
	for _, a := range mine.archives {
		err := s.clientset.CoreV1().Secrets(s.namespace).Delete(ctx, a.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &a.uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		s.kube.receipts.Gone(s.kube.out, sdk.Resource{Kind: kube.KindArchive, Name: a.name, Namespace: s.namespace, Destructive: true})
	}
	return s.space().Remove(ctx, s.kube.receipts)
}

// cleanRelease takes the session's release away, and its claims.
func (s *session) cleanRelease(ctx context.Context, step sdk.Step, mine *marked) error {
	past, err := s.history(ctx)
	if err != nil {
		return err
	}
	for _, rel := range past {
		s.kube.mask.LearnObjects(manifestOf(rel))
	}
	own, err := s.holdings(ctx, past, step)
	if err != nil {
		return err
	}
	byName := s.claimNames(past)
	switch {
	case len(past) == 0:
		s.kube.out.Log("there is no release " + s.settings.Release + " in namespace " + s.namespace)
	case !own.release:
		s.kube.out.Log("release " + s.settings.Release + " in namespace " + s.namespace + " stays: " + own.stays)
	default:
		s.kube.out.Log("uninstalling release " + s.settings.Release)
		if err := s.notePresent(ctx, past); err != nil {
			return err
		}
		if err := s.uninstall(ctx, past); err != nil {
			return err
		}
	}
	if own.claims || len(mine.claims) > 0 {
		if err := s.removeClaims(ctx, own.claims, byName, mine.claims); err != nil {
			return err
		}
	}
	if len(past) == 0 || !own.release {
		return nil
	}
	if err := s.purge(past); err != nil {
		return err
	}
	s.kube.receipts.Gone(s.kube.out, sdk.Resource{Kind: kindRelease, Name: s.settings.Release, Namespace: s.namespace})
	return nil
}

// marked is what bears the marks of a step's part in its namespace.
type marked struct {
	releases []string // with the one that the settings name
	archives []markedSecret
	claims   map[types.UID]bool // that archives keep
}

type markedSecret struct {
	name string
	uid  types.UID
}

// marked finds the part's releases and archives: the settings may name another
// release than they did when it was deployed, or none at all.
func (s *session) marked(ctx context.Context, step sdk.Step) (*marked, error) {
	mine := kube.StepOwner(step)
	list, err := s.cluster.ListMeta(ctx, secretKind, s.namespace, mine.Selector())
	if err != nil {
		return nil, err
	}
	out := &marked{claims: map[types.UID]bool{}}
	names := map[string]bool{s.settings.Release: true}
	for _, f := range ownedSecrets(list) {
		if !f.Owner.SameEnvironment(mine) {
			continue // of another Berth
		}
		if f.Kind == kindRelease {
			names[f.Name] = true
			continue
		}
		out.archives = append(out.archives, markedSecret{f.Name, f.UID})
		if err := s.claimsKept(ctx, f.Name, out.claims); err != nil {
			return nil, err
		}
	}
	out.releases = slices.Sorted(maps.Keys(names))
	return out, nil
}

// claimsKept adds the claims that an archive remembers to those of claims. A
// record that cannot be read names none; it goes all the same.
func (s *session) claimsKept(ctx context.Context, secret string, claims map[types.UID]bool) error {
	got, err := s.clientset.CoreV1().Secrets(s.namespace).Get(ctx, secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var record struct {
		Claims []struct {
			UID types.UID `json:"uid"`
		} `json:"claims"`
	}
	for _, data := range got.Data {
		if json.Unmarshal(data, &record) != nil {
			s.kube.out.Log("what Secret " + secret + " remembers cannot be read")
			continue
		}
		for _, c := range record.Claims {
			claims[c.UID] = true
		}
	}
	return nil
}

// claimNames matches the claims that StatefulSets of the release made from their
// templates.
func (s *session) claimNames(past []*release.Release) *regexp.Regexp {
	var objects []*unstructured.Unstructured
	for _, rel := range past {
		objects = append(objects, manifestOf(rel)...)
	}
	return kube.MadeClaims(objects, s.namespace)
}

// claims are the volume claims that are still there: the release's, where release
// is set, by its label or by name, and those that an archive keeps.
func (s *session) claims(ctx context.Context, release bool, byName *regexp.Regexp, kept map[types.UID]bool) ([]corev1.PersistentVolumeClaim, error) {
	list, err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []corev1.PersistentVolumeClaim
	for _, c := range list.Items {
		mine := release && (c.Labels[labelInstance] == s.settings.Release || byName != nil && byName.MatchString(c.Name))
		if (mine || kept[c.UID]) && !strings.EqualFold(c.Annotations[keepPolicy], "keep") {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *session) removeClaims(ctx context.Context, release bool, byName *regexp.Regexp, kept map[types.UID]bool) error {
	claims, err := s.claims(ctx, release, byName, kept)
	if err != nil || len(claims) == 0 {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, c := range claims {
		err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).Delete(ctx, c.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		s.kube.out.Log("deleting PersistentVolumeClaim " + c.Name)
		objects = append(objects, claimOf(c))
	}
	return s.kube.waiting().Removed(ctx, objects, s.settings.Timeout)
}
