package kubernetes

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// wanted is what a part is to be.
type wanted struct {
	objects []*unstructured.Unstructured // with their marks
	jobs    []job
	inputs  map[string]string
	digest  string // of all of it, values of secrets included; for the record alone
	copies  []string
}

// job is one of `jobs` as an object.
type job struct {
	*jobBlock
	object *unstructured.Unstructured
}

// Names of inputs of a plan.
const (
	inputObjects = "objects"
	inputRecord  = "record"
)

// gather puts together what step wants, but for the objects that hold secrets:
// what decides a plan names them as they are referred to.
func (x *Executor) gather(s *settings, step sdk.Step) (*wanted, error) {
	src, err := s.read()
	if err != nil {
		return nil, err
	}
	w := &wanted{objects: src.objects, inputs: src.digests}
	for _, o := range w.objects {
		unmark(o)
	}
	s.scaled = scaledBy(w.objects)
	used := map[string]bool{}
	if err := s.change(w.objects, used); err != nil {
		return nil, err
	}
	if b := s.raw.Namespace; b != nil {
		for _, o := range b.objects(&s.platform) {
			shared(o)
			w.objects = append(w.objects, o)
		}
		w.copies = b.PullSecrets
	}
	owner := kube.StepOwner(step)
	for i := range s.raw.Jobs {
		b := &s.raw.Jobs[i]
		o, err := s.job(b, owner, used)
		if err != nil {
			return nil, err
		}
		w.jobs = append(w.jobs, job{b, o})
	}
	if err := s.allUsed(used); err != nil {
		return nil, err
	}
	w.objects = append(w.objects, s.plainObjects(step)...)
	references, err := s.secretObjects(step, func(ref sdk.SecretRef) (string, error) { return ref.String(), nil },
		func(arn string) (map[string]string, error) { return map[string]string{"from": arn}, nil })
	if err != nil {
		return nil, err
	}
	all := append(slices.Clone(w.objects), references...)
	if err := unique(all); err != nil {
		return nil, err
	}
	described := make([]any, 0, len(all)+len(w.jobs))
	for _, o := range all {
		described = append(described, o.Object)
	}
	for _, j := range w.jobs {
		described = append(described, j.When, j.object.Object)
	}
	described = append(described, w.copies)
	if w.inputs[inputObjects], err = jsonDigest(described); err != nil {
		return nil, sdk.Internal("The objects cannot be written: %w", err)
	}
	w.inputs[inputRecord] = step.Namespace + "/" + recordName(step)
	return w, nil
}

// withSecrets looks up the values of secrets and makes the objects that hold
// them.
func (x *Executor) withSecrets(ctx context.Context, s *settings, step sdk.Step, w *wanted) error {
	secrets := x.clusters.Secrets(step.Cluster, x.getenv)
	mask := maskOf(ctx)
	made, err := s.secretObjects(step,
		func(ref sdk.SecretRef) (string, error) {
			value, err := secrets.Value(ctx, step, ref)
			if err == nil {
				mask.LearnExact([]string{value})
			}
			return value, err
		},
		func(arn string) (map[string]string, error) {
			if strings.HasPrefix(arn, unknownYet) {
				return map[string]string{}, nil // a plan of what comes after another part
			}
			values, err := x.aws.read(ctx, arn, s.platform.AWS.Endpoint)
			for key, value := range values {
				if !public[key] {
					sdk.Hide(ctx, value)
					mask.LearnExact([]string{value})
				}
			}
			return values, err
		})
	if err != nil {
		return err
	}
	copied, err := x.copies(ctx, step, w.copies)
	if err != nil {
		return err
	}
	w.objects = append(append(w.objects, made...), copied...)
	mask.LearnObjects(w.objects)
	if err := unique(w.objects); err != nil {
		return err
	}
	name := recordName(step)
	for _, o := range w.objects {
		s.mark(o, step, setID(name, step.Namespace))
	}
	for _, j := range w.jobs {
		s.mark(j.object, step, setID(name, step.Namespace))
	}
	described := make([]any, 0, len(w.objects))
	for _, o := range w.objects {
		described = append(described, o.Object)
	}
	for _, j := range w.jobs { // so that the record names their kind before one is made
		described = append(described, j.object.GetName())
	}
	if w.digest, err = jsonDigest(append(described, s.raw.Force, namespaceMarks(s))); err != nil {
		return sdk.Internal("The objects cannot be written: %w", err)
	}
	return nil
}

// namespaceMarks is what the namespace itself is to bear.
func namespaceMarks(s *settings) any {
	if s.raw.Namespace == nil {
		return nil
	}
	return []any{s.raw.Namespace.Labels, s.raw.Namespace.Annotations}
}

// unknownYet is how the core begins what a part that has not run yet will put
// out, in a plan.
const unknownYet = "(known after "

// ownMarks is how the labels and annotations begin that are Berth's to set.
const ownMarks = "berth.dev/"

// sharedMark is on objects that are made for the environment's namespace, not for
// the part, until they get their marks.
const sharedMark = "\x00shared"

func shared(o *unstructured.Unstructured) {
	meta, _ := o.Object["metadata"].(map[string]any)
	meta[sharedMark] = true
}

// unmark takes off an object that comes from outside what Berth alone may say of
// objects. One that bears it would not be held to the platform's `kinds`, or would
// be left out when the part is put to sleep or pruned. Such marks also come with
// manifests that were written out of a cluster.
func unmark(o *unstructured.Unstructured) {
	meta, _ := o.Object["metadata"].(map[string]any)
	delete(meta, sharedMark)
	for _, field := range []string{"labels", "annotations"} {
		values, _ := meta[field].(map[string]any)
		maps.DeleteFunc(values, func(name string, _ any) bool {
			return strings.HasPrefix(name, ownMarks) && (field == "labels" || name != kube.AnnotationURL)
		})
	}
}

// mark gives an object the marks of its owner, whatever it says itself, and the
// set that it belongs to.
func (s *settings) mark(o *unstructured.Unstructured, step sdk.Step, set string) {
	owner := kube.StepOwner(step)
	meta, _ := o.Object["metadata"].(map[string]any)
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	for _, name := range []string{kube.LabelApp, kube.LabelEnvironment, kube.LabelPart, kube.LabelInstallation, labelSet} {
		delete(labels, name)
	}
	if meta[sharedMark] != nil {
		delete(meta, sharedMark)
		owner = owner.Environment()
		labels[kube.LabelManagedBy] = kube.ManagedBy
	}
	maps.Copy(labels, owner.Labels())
	labels[labelPartOf] = set
	o.SetLabels(labels)
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "deletionTimestamp"} {
		delete(meta, field)
	}
	delete(o.Object, "status")
}

// plainObjects are those of the settings that hold no secrets.
func (s *settings) plainObjects(step sdk.Step) []*unstructured.Unstructured {
	name := s.raw.Vars.ConfigMap
	if name == "" {
		return nil
	}
	return []*unstructured.Unstructured{kube.ObjectOf(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": texts(step.Vars),
	})}
}

// secretObjects makes the Secrets of the settings; value and from give what their
// references stand for.
func (s *settings) secretObjects(step sdk.Step, value func(sdk.SecretRef) (string, error), from func(arn string) (map[string]string, error)) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	add := func(name, kind string, data map[string]string) {
		encoded := map[string]any{}
		for key, v := range data {
			encoded[key] = base64.StdEncoding.EncodeToString([]byte(v))
		}
		out = append(out, kube.ObjectOf(map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name}, "type": orWord(kind, "Opaque"), "data": encoded,
		}))
	}
	if name := s.raw.Vars.Secret; name != "" {
		data := map[string]string{}
		for _, variable := range slices.Sorted(maps.Keys(step.Secrets)) {
			v, err := value(step.Secrets[variable])
			if err != nil {
				return nil, err
			}
			data[variable] = v
		}
		add(name, "", data)
	}
	for _, b := range s.raw.Secrets {
		data := map[string]string{}
		if b.From != "" {
			values, err := from(b.From)
			if err != nil {
				return nil, err
			}
			maps.Copy(data, values)
		}
		for _, key := range slices.Sorted(maps.Keys(b.Data)) {
			if plain, ok := b.Data[key].(string); ok {
				data[key] = plain
				continue
			}
			ref, err := sdk.SecretOf(b.Data[key], "the secret "+b.Name+"/"+key)
			if err != nil {
				return nil, err
			}
			if data[key], err = value(ref); err != nil {
				return nil, err
			}
		}
		add(b.Name, b.Type, data)
	}
	return out, nil
}

// stillAgreed refuses sources that are not those of the plan: a folder may have
// changed since, though nothing that was asked for did. The objects are not
// compared, since outputs of other parts in them may have become known.
func (w *wanted) stillAgreed(step sdk.Step) error {
	for _, b := range kube.Maps(step.With["secrets"]) {
		if from, _ := b["from"].(string); strings.HasPrefix(from, unknownYet) {
			return sdk.Invalid("The secret %q is to come from what another part puts out, and that part has not put it out: add it to `needs`.", kube.Clip(fmt.Sprint(b["name"]), 80))
		}
	}
	for _, name := range []string{"manifests", "kustomize"} {
		if agreed := step.Agreed[name]; agreed != "" && agreed != w.inputs[name] && s256(agreed) {
			if _, inline := step.With[name].(string); name == "manifests" && (!inline || !isPath(step.With[name].(string))) {
				continue // inline text may have outputs in it
			}
			return sdk.Invalid("What `%s` names is not what was agreed on: it has changed since the plan was made. Plan again.", name)
		}
	}
	return nil
}

func s256(digest string) bool { return strings.HasPrefix(digest, "sha256:") }
