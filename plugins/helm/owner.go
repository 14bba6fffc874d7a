package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// owner is whose a namespace or a release is, as its labels say. Names of
// environments may come out the same: app "a" with "b-c" and app "a-b" with "c"
// are both a-b-c. So what is another's is never deployed into, nor taken away.
type owner struct {
	app, env     string
	part         string // "" for a namespace, which all parts share
	installation string // "" when it is not told, which means ours
}

// labelsOwner is the owner that labels name.
func labelsOwner(l map[string]string) owner {
	return owner{app: l[labelApp], env: l[labelEnvironment], part: l[labelPart], installation: l[labelInstallation]}
}

// stepOwner is the owner that labels name for what step makes.
func stepOwner(step sdk.Step) owner {
	o := owner{app: labelValue(step.App), env: labelValue(step.Env), part: labelValue(step.Part)}
	if step.Installation != "" {
		o.installation = labelValue(step.Installation)
	}
	return o
}

// is tells whether both are the same. What was made before installations were
// told apart is whoever's has its names.
func (o owner) is(other owner) bool {
	if o.installation == "" || other.installation == "" {
		o.installation, other.installation = "", ""
	}
	return o == other
}

// labels are what marks a thing as o's.
func (o owner) labels() map[string]string {
	out := map[string]string{labelApp: o.app, labelEnvironment: o.env}
	if o.part != "" {
		out[labelPart] = o.part
	}
	if o.installation != "" {
		out[labelInstallation] = o.installation
	}
	return out
}

// of names o to somebody who expected mine.
func (o owner) of(mine owner) string {
	if o.installation != "" && mine.installation != "" && o.installation != mine.installation {
		return o.String() + " of another Berth"
	}
	return o.String()
}

// known tells whether Berth's labels are there at all.
func (o owner) known() bool { return o.app != "" || o.env != "" }

func (o owner) String() string {
	if o.part == "" {
		return o.app + "/" + o.env
	}
	return o.app + "/" + o.env + " (part " + o.part + ")"
}

// namespaceOwner is whose ns is, the zero owner when Berth did not mark it.
func namespaceOwner(ns *corev1.Namespace) owner {
	o := labelsOwner(ns.Labels)
	o.part = ""
	return o
}

// releaseOwner is whose a release is, as its newest revision with labels says:
// one that Helm's own command made may have none.
func releaseOwner(past []*release.Release) owner {
	for i := len(past) - 1; i >= 0; i-- {
		if o := labelsOwner(past[i].Labels); o.known() {
			return o
		}
	}
	return owner{}
}

// environmentOwner is the owner that labels name for what is all of step's
// environment, not of one of its parts.
func environmentOwner(step sdk.Step) owner {
	o := stepOwner(step)
	o.part = ""
	return o
}

// sameEnvironment tells whether both are of one environment, whatever part.
func sameEnvironment(a, b owner) bool {
	a.part, b.part = "", ""
	return a.is(b)
}

// refuseNamespace says why step may not deploy into ns, nil when it may. One
// without Berth's labels is whoever's it is, and used as it is.
func refuseNamespace(ns *corev1.Namespace, step sdk.Step) error {
	if o, mine := namespaceOwner(ns), environmentOwner(step); o.known() && !o.is(mine) {
		return sdk.Invalid("The namespace %q is that of environment %s, and environments do not share one: give this app another `namespace` in Berth's config. Where they are meant to share it, take the labels %s and %s off the namespace.",
			ns.Name, o.of(mine), labelApp, labelEnvironment)
	}
	return nil
}

// refuseStrays says why objects of a chart may not go where the chart wants
// them, nil when they may: not into another environment's namespace.
func (k *kubeClient) refuseStrays(resources kube.ResourceList) error {
	asked := map[string]bool{"": true, k.namespace: true}
	for _, r := range resources {
		if asked[r.Namespace] {
			continue
		}
		asked[r.Namespace] = true
		ns, err := k.clientset.CoreV1().Namespaces().Get(k.ctx, r.Namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue // what comes next shows whether that matters
		}
		if err != nil {
			return err
		}
		if o := namespaceOwner(ns); o.known() && !o.is(k.mine) {
			return sdk.Invalid("The chart puts %s %q into namespace %q, which is that of environment %s. Take the namespace out of the chart's template.",
				r.Mapping.GroupVersionKind.Kind, r.Name, r.Namespace, o.of(k.mine))
		}
	}
	return nil
}

// refuseRelease says why step may not deploy over a release, nil when it may.
// One without Berth's labels is taken over.
func (s *session) refuseRelease(past []*release.Release, step sdk.Step) error {
	if o, mine := releaseOwner(past), stepOwner(step); o.known() && !o.is(mine) {
		return sdk.Invalid("The release %q in namespace %q is that of environment %s: give this part another `release`, or the app another `namespace`, in Berth's config.",
			s.settings.Release, s.namespace, o.of(mine))
	}
	return nil
}

// refuseOthers is refuseNamespace and refuseRelease, for a plan: what a deploy
// would be refused for is said before anybody agrees to it.
func (s *session) refuseOthers(ctx context.Context, past []*release.Release, step sdk.Step) error {
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
	case err != nil:
		return err
	case ns.DeletionTimestamp == nil:
		if err := refuseNamespace(ns, step); err != nil {
			return err
		}
	}
	return s.refuseRelease(past, step)
}

// holdings are what a cleanup may take of what it found.
type holdings struct {
	release bool   // the release, with its records
	claims  bool   // volume claims that go by the release's name
	stays   string // why the release stays, where there is one
}

// holdings tells what is step's own. A release without Berth's labels is when
// its namespace is; claims without a release are, too.
func (s *session) holdings(ctx context.Context, past []*release.Release, step sdk.Step) (holdings, error) {
	o, mine := releaseOwner(past), stepOwner(step)
	switch {
	case o.is(mine), step.Part == "" && o.known() && sameEnvironment(o, mine):
		return holdings{release: true, claims: true}, nil
	case o.known():
		return holdings{stays: fmt.Sprintf("it is that of environment %s", o.of(mine))}, nil
	}
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return holdings{}, err
	}
	if err == nil && namespaceOwner(ns).is(environmentOwner(step)) {
		return holdings{release: true, claims: true}, nil
	}
	return holdings{stays: "Berth did not make it"}, nil
}
