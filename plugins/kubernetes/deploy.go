package kubernetes

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// deploy makes the part what its settings say, and waits until it is ready.
func (x *Executor) deploy(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := readSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	var w *wanted
	var r *record
	// What is wanted comes from elsewhere than what is there.
	group, side := errgroup.WithContext(limited)
	group.Go(func() (err error) {
		if w, err = x.gather(s, step); err != nil {
			return err
		}
		if err = w.stillAgreed(step); err != nil {
			return err
		}
		return x.withSecrets(side, s, step, w)
	})
	group.Go(func() (err error) {
		r, err = ses.load(side)
		return err
	})
	if err := group.Wait(); err != nil {
		return timedOut(limited, ctx, err)
	}
	return timedOut(limited, ctx, ses.bring(limited, w, r))
}

// bring makes the part what w says, from whatever state it is in.
func (s *session) bring(ctx context.Context, w *wanted, r *record) error {
	if r != nil && r.Digest == w.digest {
		all, ok, err := s.intact(ctx, r)
		if err != nil {
			return err
		}
		if ok {
			return s.unchanged(ctx, w, r, all)
		}
		s.out.Log("something is not as it was deployed, and is put right")
	}
	if _, err := s.cluster.Reach(ctx); err != nil {
		return err
	}
	all, err := s.place(w.objects)
	if err != nil {
		return err
	}
	if err := s.ensureNamespace(ctx); err != nil {
		return err
	}
	if err := s.overArchive(ctx, r); err != nil {
		return err
	}
	if err := s.findLive(ctx, all); err != nil {
		return err
	}
	if r, err = s.begin(ctx, w, r, all); err != nil {
		return err
	}
	err = s.applyAll(ctx, all, r, func(at phase) error {
		if at != settled {
			return nil
		}
		return s.runJobs(ctx, w, r, before)
	})
	if err != nil {
		return err
	}
	if err := s.wakeOver(ctx, all); err != nil {
		return err
	}
	if err := s.adjust(ctx, all); err != nil {
		return err
	}
	wants := map[string]bool{}
	for _, p := range all {
		wants[kube.ID(p.Unstructured, "")] = true
	}
	if err := s.prune(ctx, r, wants); err != nil {
		return err
	}
	back := r.Archive
	r.Digest, r.Outputs, r.Archive = w.digest, nil, nil
	r.Step = kube.StepLabel(s.step.ID)
	s.remember(w, r)
	if err := s.save(ctx, r); err != nil {
		return err
	}
	if err := s.settle(ctx, w, r); err != nil || back == nil {
		return err
	}
	return s.takeSnapshotsAway(ctx, back)
}

// unchanged is a deploy of what is there already: it waits for what is not ready
// and runs what has not been run.
func (s *session) unchanged(ctx context.Context, w *wanted, r *record, all []*found) error {
	s.out.Log("nothing has changed: " + kube.Count(len(w.objects), "object"))
	ready := len(s.settings.rules.waits) == 0 && len(r.Outputs) > 0
	for _, f := range all {
		if f.full == nil || f.Labels[labelJob] != "" {
			continue
		}
		if st := s.settings.rules.of(f.full); st.State != kube.Ready {
			ready = false
		}
	}
	for _, j := range w.jobs {
		ready = ready && r.Jobs[j.Name] == j.object.GetName()
	}
	if !ready {
		if err := s.runJobs(ctx, w, r, before); err != nil {
			return err
		}
		return s.settle(ctx, w, r)
	}
	s.tell(r.Outputs)
	return nil
}

// settle waits until all is ready, runs what comes after that, and tells the
// outputs.
func (s *session) settle(ctx context.Context, w *wanted, r *record) error {
	if err := s.wait().Ready(ctx, s.awaitedOf(w.objects), untilDeadline(ctx)); err != nil {
		return err
	}
	if err := s.awaitOthers(ctx); err != nil {
		return err
	}
	if err := s.runJobs(ctx, w, r, after); err != nil {
		return err
	}
	outputs, err := s.outputs(ctx, w)
	if err != nil {
		return err
	}
	if !maps.Equal(outputs, r.Outputs) {
		r.Outputs = outputs
		if err := s.save(ctx, r); err != nil {
			return err
		}
	}
	s.tell(outputs)
	return nil
}

// awaitedOf are those of the objects whose readiness can be told.
func (s *session) awaitedOf(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(objects), func(u *unstructured.Unstructured) bool {
		gvk := u.GroupVersionKind()
		return !s.readiness(kindOf{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}) || kube.GroupKind(u) == "Ingress.networking.k8s.io"
	})
}

// ensureNamespace makes the namespace, and gives one that Berth made the labels
// and annotations of the settings.
func (s *session) ensureNamespace(ctx context.Context) error {
	create := s.settings.raw.CreateNamespace == nil || *s.settings.raw.CreateNamespace
	if err := s.namespace().Ensure(ctx, create); err != nil {
		return err
	}
	b := s.settings.raw.Namespace
	if b == nil || len(b.Labels)+len(b.Annotations) == 0 {
		return nil
	}
	ns, err := s.cluster.Clientset().CoreV1().Namespaces().Get(ctx, s.step.Namespace, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		s.out.Log("namespace " + s.step.Namespace + ": Berth may not look at it, so that its labels and annotations stay as they are")
		return nil
	}
	if err != nil {
		return err
	}
	if !isOurs(ns, s.step) {
		return sdk.Invalid("The namespace %q is not one that Berth made, so its labels and annotations are not changed: take them out of `namespace`.", s.step.Namespace)
	}
	labels := merged(b.Labels, kube.EnvironmentOwner(s.step).Labels())
	labels[kube.LabelManagedBy] = kube.ManagedBy
	u := kube.ObjectOf(map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": s.step.Namespace, "uid": string(ns.UID), "labels": texts(labels), "annotations": texts(b.Annotations),
	}})
	client := s.cluster.Dynamic().Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: s.settings.raw.Force}
	_, err = client.Apply(ctx, s.step.Namespace, u, options)
	if onlyOwn(err) {
		options.Force = true
		_, err = client.Apply(ctx, s.step.Namespace, u, options)
	}
	if text := conflictText(u, err); text != "" {
		return conflictError([]string{text})
	}
	return err
}

// begin writes into the record which kinds of objects there will be, before the
// first of them is made, and drops its digest: until all is applied, what is
// there is not what anybody wanted.
func (s *session) begin(ctx context.Context, w *wanted, r *record, all []*placed) (*record, error) {
	if r == nil {
		r = &record{}
	}
	had := *r
	var kinds []kindOf
	for _, p := range all {
		kinds = append(kinds, p.kind)
		if ns := p.GetNamespace(); ns != "" && ns != s.step.Namespace && !slices.Contains(r.Places, ns) {
			r.Places = append(slices.Clone(r.Places), ns)
		}
	}
	if len(w.jobs) > 0 {
		kinds = append(kinds, jobKind)
	}
	r.with(kinds)
	r.Claims = slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.Claims, claimsOf(w.objects)))))
	same := had.uid != "" && slices.Equal(had.Kinds, r.Kinds) && slices.Equal(had.Places, r.Places) && slices.Equal(had.Claims, r.Claims)
	if r.Members == nil {
		r.Members = map[string]member{}
	}
	if same && (had.Digest == w.digest || had.Digest == "") {
		return r, nil // found again as it is
	}
	r.Digest = ""
	return r, s.save(ctx, r)
}

// claimsOf are the beginnings of the names of claims that StatefulSets make from
// their templates, which nothing owns: TEMPLATE-STATEFULSET, and then an ordinal.
func claimsOf(objects []*unstructured.Unstructured) []string {
	var out []string
	for _, u := range objects {
		if kube.GroupKind(u) != "StatefulSet.apps" {
			continue
		}
		for _, t := range kube.Maps(nestedList(u, "spec", "volumeClaimTemplates")) {
			if name := kube.ObjectOf(t).GetName(); name != "" {
				out = append(out, name+"-"+u.GetName())
			}
		}
	}
	return out
}

// remember keeps what was applied, to compare with later.
func (s *session) remember(w *wanted, r *record) {
	wants := map[string]bool{}
	r.Objects = nil
	for _, o := range w.objects {
		wants[kube.ID(o, "")] = true
		r.Objects = append(r.Objects, o.Object)
	}
	maps.DeleteFunc(r.Members, func(id string, m member) bool { return !wants[id] && !m.Kept })
}

// awaitOthers waits for the resources that `wait` names.
func (s *session) awaitOthers(ctx context.Context) error {
	for _, a := range s.settings.rules.waits {
		u, err := s.awaitedObject(a)
		if err != nil {
			return err
		}
		limit := untilDeadline(ctx)
		if a.limit > 0 {
			limit = min(limit, a.limit)
		}
		wait := s.wait()
		wait.Look = func(u *unstructured.Unstructured) kube.Status { return a.of(u, s.settings.rules) }
		if err := wait.Ready(ctx, []*unstructured.Unstructured{u}, limit); err != nil {
			return err
		}
	}
	return nil
}

// awaitedObject is what `wait` names, where it may be looked at.
func (s *session) awaitedObject(a awaited) (*unstructured.Unstructured, error) {
	u := kube.ObjectOf(map[string]any{"apiVersion": a.APIVersion, "kind": a.Kind, "metadata": map[string]any{"name": a.Name}})
	if a.APIVersion == "" {
		kind, group, _ := strings.Cut(a.Kind, ".")
		gvk, err := s.cluster.Mapper().KindFor(schema.GroupVersionResource{Group: group, Resource: strings.ToLower(kind)})
		if err != nil {
			return nil, sdk.Invalid("The cluster does not know the kind %q of `wait`, or knows several: give its `api_version`.", kube.Clip(a.Kind, 80))
		}
		u.SetGroupVersionKind(gvk)
	}
	gvk := u.GroupVersionKind()
	mapping, err := s.cluster.Mapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		if gone, failed := s.cluster.KindGone(err); failed != nil {
			return nil, failed
		} else if gone {
			return nil, sdk.Invalid("The cluster does not know %q in %s, which `wait` names.", kube.Clip(a.Kind, 80), kube.Clip(u.GetAPIVersion(), 80))
		}
	}
	namespace := ""
	if mapping.Scope.Name() == "namespace" {
		namespace = a.Namespace
		u.SetNamespace(namespace)
	}
	if namespace != s.step.Namespace && !s.settings.allows(u, namespace, s.step.App) {
		return nil, sdk.Invalid("`wait` names %s outside of the environment's namespace: `allow` in the kubernetes executor's `settings` does not have that kind there.", kube.Clip(kube.Title(u), 160))
	}
	return u, nil
}

// outputs are what parts that need this one can use.
func (s *session) outputs(ctx context.Context, w *wanted) (map[string]string, error) {
	out := map[string]string{"namespace": s.step.Namespace}
	var shown []*unstructured.Unstructured
	for _, o := range w.objects {
		switch kube.GroupKind(o) {
		case "Service.":
			if ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP"); ip != "None" && out["service"] == "" {
				out["service"] = o.GetName() + "." + orWord(o.GetNamespace(), s.step.Namespace) + ".svc"
			}
			shown = append(shown, o)
		case "Ingress.networking.k8s.io", "HTTPRoute.gateway.networking.k8s.io", "Application.argoproj.io":
			shown = append(shown, o)
		default:
			if o.GetAnnotations()[kube.AnnotationURL] != "" {
				shown = append(shown, o)
			}
		}
	}
	sight, err := s.cluster.See(ctx, shown, s.step.Namespace, s.wait().Look)
	if err != nil {
		return nil, err
	}
	if links := s.cluster.Links(ctx, sight, s.settings.raw.URL, s.mask); len(links) > 0 {
		out["url"] = links[0].URL
	}
	return out, nil
}

func (s *session) tell(outputs map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(outputs)) {
		s.out.Output(key, outputs[key])
	}
}
