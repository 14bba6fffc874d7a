package helm

import (
	"context"
	"regexp"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// labelInstance is the label that charts give to what a release makes.
// Source: https://helm.sh/docs/chart_best_practices/labels/
const labelInstance = "app.kubernetes.io/instance"

// cleanup takes the release away: its objects, its claims, its records, and the
// namespace if Berth made it and nothing else is in it. The records go after
// the objects, so that an interrupted cleanup finds out again what there is.
func (x *Executor) cleanup(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := readSettings(step)
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
	if _, err := s.cluster.capabilities(ctx); err != nil {
		return err
	}
	past, err := s.history(ctx)
	if err != nil {
		return err
	}
	for _, rel := range past {
		s.kube.mask.learnObjects(manifestOf(rel))
	}
	own, err := s.holdings(ctx, past, step)
	if err != nil {
		return err
	}
	switch {
	case len(past) == 0:
		s.kube.out.Log("there is no release " + s.settings.Release + " in namespace " + s.namespace)
	case !own.release:
		s.kube.out.Log("release " + s.settings.Release + " in namespace " + s.namespace + " stays: " + own.stays)
	default:
		s.kube.out.Log("uninstalling release " + s.settings.Release)
		if err := s.uninstall(ctx, past); err != nil {
			return err
		}
	}
	if own.claims {
		if err := s.removeClaims(ctx, s.claimNames(past)); err != nil {
			return err
		}
	}
	if own.release {
		if err := s.purge(past); err != nil {
			return err
		}
	}
	return s.removeNamespace(ctx, step)
}

// claimNames matches the claims that StatefulSets of the release made from
// their templates: TEMPLATE-STATEFULSET-ORDINAL. Nothing owns those.
func (s *session) claimNames(past []*release.Release) *regexp.Regexp {
	var names []string
	for _, rel := range past {
		for _, o := range manifestOf(rel) {
			if o.kind() != "StatefulSet" || o.namespace() != "" && o.namespace() != s.namespace {
				continue
			}
			templates, _, _ := unstructured.NestedSlice(o.content, "spec", "volumeClaimTemplates")
			for _, t := range templates {
				content, _ := t.(map[string]any)
				if name := (object{content}).name(); name != "" {
					names = append(names, regexp.QuoteMeta(name+"-"+o.name())+`-[0-9]+`)
				}
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return regexp.MustCompile(`^(` + strings.Join(names, "|") + `)$`)
}

// claims are the release's volume claims that are still there.
func (s *session) claims(ctx context.Context, byName *regexp.Regexp) ([]corev1.PersistentVolumeClaim, error) {
	list, err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []corev1.PersistentVolumeClaim
	for _, c := range list.Items {
		mine := c.Labels[labelInstance] == s.settings.Release || byName != nil && byName.MatchString(c.Name)
		if mine && !strings.EqualFold(c.Annotations[keepPolicy], "keep") {
			out = append(out, c)
		}
	}
	return out, nil
}

func (s *session) removeClaims(ctx context.Context, byName *regexp.Regexp) error {
	claims, err := s.claims(ctx, byName)
	if err != nil || len(claims) == 0 {
		return err
	}
	var objects []object
	for _, c := range claims {
		err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).Delete(ctx, c.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &c.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		s.kube.out.Log("deleting PersistentVolumeClaim " + c.Name)
		objects = append(objects, object{map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim",
			"metadata": map[string]any{"name": c.Name, "namespace": s.namespace},
		}})
	}
	list, err := s.kube.resourcesOf(objects)
	if err != nil {
		return err
	}
	return s.kube.wait(ctx, list, s.settings.Timeout, removal)
}
