package kube

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Need is what objects ask of a cluster while they run.
type Need struct {
	cpu, memory, storage resource.Quantity
	pods                 int64
	perNode              int64 // pods of which every node gets one; they are counted once
}

// NeedOf adds up what objects ask for: what their pods request, as the scheduler
// counts it, times their replicas, and the storage that is claimed. An
// autoscaler's choice is not known, and CronJobs ask for something at times only.
func NeedOf(objects []*unstructured.Unstructured) Need {
	var n Need
	for _, o := range objects {
		times := int64(1)
		switch o.GetKind() {
		case "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Rollout":
			times = number64(o, 1, "spec", "replicas")
		case "Job":
			times = number64(o, 1, "spec", "parallelism")
			times = min(times, number64(o, times, "spec", "completions"))
		case "DaemonSet":
			n.perNode++
			n.add(o, 1)
			continue
		case "Pod":
		case "PersistentVolumeClaim":
			n.claim(o.Object, 1)
			continue
		default:
			continue
		}
		n.pods += times
		n.add(o, times)
		templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		for _, t := range Maps(templates) {
			n.claim(t, times)
		}
	}
	return n
}

// number is a whole number of an object, or what stands for it where it has
// none.
func number64(o *unstructured.Unstructured, otherwise int64, path ...string) int64 {
	v, ok, err := unstructured.NestedInt64(o.Object, path...)
	if !ok || err != nil {
		return otherwise
	}
	return max(v, 0)
}

// add counts an object's pods that many times.
func (n *Need) add(o *unstructured.Unstructured, times int64) {
	for _, spec := range PodSpecs(o.Object) {
		addTo(&n.cpu, requested(spec, "cpu"), times)
		addTo(&n.memory, requested(spec, "memory"), times)
	}
}

func (n *Need) claim(content map[string]any, times int64) {
	text, _, _ := unstructured.NestedFieldNoCopy(content, "spec", "resources", "requests", "storage")
	addTo(&n.storage, quantityOf(text), times)
}

func addTo(sum *resource.Quantity, one resource.Quantity, times int64) {
	one.Mul(times)
	sum.Add(one)
}

// requested is what a pod requests of a resource: its containers together, or
// what one that runs before them needs alone, if that is more.
// Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
func requested(spec map[string]any, name string) resource.Quantity {
	var together, sidecars, before resource.Quantity
	for _, c := range Maps(spec["containers"]) {
		together.Add(ofContainer(c, name))
	}
	for _, c := range Maps(spec["initContainers"]) {
		one := ofContainer(c, name)
		if c["restartPolicy"] == "Always" { // it stays beside the others
			sidecars.Add(one)
			one = sidecars.DeepCopy()
		} else {
			one.Add(sidecars)
		}
		if one.Cmp(before) > 0 {
			before = one
		}
	}
	together.Add(sidecars)
	if before.Cmp(together) > 0 {
		together = before
	}
	overhead, _, _ := unstructured.NestedFieldNoCopy(spec, "overhead", name)
	together.Add(quantityOf(overhead))
	return together
}

// ofContainer is what a container requests; without a request its limit counts.
func ofContainer(c map[string]any, name string) resource.Quantity {
	for _, kind := range []string{"requests", "limits"} {
		if v, ok, _ := unstructured.NestedFieldNoCopy(c, "resources", kind, name); ok {
			return quantityOf(v)
		}
	}
	return resource.Quantity{}
}

// quantityOf reads a quantity; what is none counts as nothing, which the API
// server will say more about.
func quantityOf(v any) resource.Quantity {
	text := strings.TrimSpace(fmt.Sprint(v))
	const most = 32 // characters; exponents beyond two digits are no quantity of anything
	if v == nil || len(text) > most {
		return resource.Quantity{}
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 && len(text)-i > 4 {
		return resource.Quantity{}
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		return resource.Quantity{}
	}
	return q
}

// String is "500m CPU and 512Mi memory (2 pods)", "" for nothing.
func (n Need) String() string {
	var what []string
	for _, r := range []struct {
		q    resource.Quantity
		name string
	}{{n.cpu, "CPU"}, {n.memory, "memory"}, {n.storage, "storage"}} {
		if r.q.Sign() > 0 {
			what = append(what, r.q.String()+" "+r.name)
		}
	}
	pods := ""
	switch {
	case n.pods > 0 && n.perNode > 0:
		pods = fmt.Sprintf("%s, and %d on each node, counted once", Count(int(n.pods), "pod"), n.perNode)
	case n.pods > 0:
		pods = Count(int(n.pods), "pod")
	case n.perNode > 0:
		pods = Count(int(n.perNode), "pod") + " on each node, counted once"
	}
	switch {
	case len(what) == 0 && pods == "":
		return ""
	case len(what) == 0:
		return "no CPU or memory (" + pods + ")"
	case pods == "":
		return listed(what)
	}
	return listed(what) + " (" + pods + ")"
}

// listed is "a", "a and b", "a, b and c".
func listed(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// Cost is what a deploy makes of what objects ask for, in one line.
func Cost(before, after []*unstructured.Unstructured) string {
	was, is := NeedOf(before).String(), NeedOf(after).String()
	switch {
	case is == "" && was == "":
		return ""
	case was == "" || was == is:
		return "requests " + is
	case is == "":
		return "requests nothing, instead of " + was
	}
	return "requests " + is + ", instead of " + was
}
