package kubernetes

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// maxRecord is how much of a record may be objects, compressed, in bytes. A
	// Secret holds 1 MiB. Source: https://kubernetes.io/docs/concepts/configuration/secret/
	maxRecord = 640 << 10
	// maxUnpacked bounds what a record, which anybody with rights may have written,
	// can grow to in memory.
	maxUnpacked = 64 << 20
)

// record is what is known in the cluster of a part, in the Secret that is the
// parent of its ApplySet. It is written before the first object, with the kinds
// that will be there, so that whatever is made can be found again.
type record struct {
	Digest  string            `json:"digest"` // of what was wanted; "" until all of it is applied
	Kinds   []kindOf          `json:"kinds"`  // that objects of the part may have
	Places  []string          `json:"places,omitempty"`
	Members map[string]member `json:"members,omitempty"` // by kube.ID
	Claims  []string          `json:"claims,omitempty"`  // TEMPLATE-STATEFULSET of claims that StatefulSets make
	Jobs    map[string]string `json:"jobs,omitempty"`    // the Job that has done each of `jobs`
	Outputs map[string]string `json:"outputs,omitempty"`
	Objects []map[string]any  `json:"objects,omitempty"` // as applied, unless they are too large
	Step    string            `json:"step,omitempty"`    // a label's value for the step that made it so
	Archive *archived         `json:"archive,omitempty"` // of a part that is archived
	name    string
	owner   kube.Owner
	uid     string
}

// kindOf is a kind of objects and how to list them.
type kindOf struct {
	Group      string `json:"group,omitempty"`
	Version    string `json:"version"`
	Kind       string `json:"kind"`
	Resource   string `json:"resource"`
	Namespaced bool   `json:"namespaced,omitempty"`
}

func (k kindOf) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}
}

func (k kindOf) key() string { return k.Kind + "." + k.Group }

// sample is an empty object of the kind.
func (k kindOf) sample() *unstructured.Unstructured {
	return kube.ObjectOf(map[string]any{
		"apiVersion": schema.GroupVersion{Group: k.Group, Version: k.Version}.String(), "kind": k.Kind,
	})
}

// member is an object of the part as Berth left it. Own is a digest of the fields
// that Berth's field manager owns: when anybody has changed one of them since, it
// is not Berth's any more, and the digest differs. It holds whatever else about
// the object changes, such as its status.
type member struct {
	UID  string `json:"uid"`
	Own  string `json:"own"`
	Kept bool   `json:"kept,omitempty"` // a claim that is wanted no more, and has data
}

// ownFields is the digest for a member.
func ownFields(o metav1.Object) string {
	for _, e := range o.GetManagedFields() {
		if e.Manager != fieldManager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		var fields any
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			return ""
		}
		data, err := json.Marshal(fields) // with its keys sorted
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(append(data, e.APIVersion...))
		return hex.EncodeToString(sum[:12])
	}
	return ""
}

// with adds kinds to those of the record, by their newest version.
func (r *record) with(kinds []kindOf) {
	all := map[string]kindOf{}
	for _, k := range slices.Concat(r.Kinds, kinds) {
		all[k.key()] = k
	}
	r.Kinds = nil
	for _, key := range slices.Sorted(maps.Keys(all)) {
		r.Kinds = append(r.Kinds, all[key])
	}
}

// load reads the part's record, nil when there is none.
func (s *session) load(ctx context.Context) (*record, error) {
	got, err := s.cluster.Clientset().CoreV1().Secrets(s.step.Namespace).Get(ctx, recordName(s.step), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := decodeRecord(got.Name, got.Labels, got.Annotations, got.Data[recordKey])
	r.uid = string(got.UID)
	if !r.owner.Is(s.mine) {
		if !r.owner.Known() {
			return nil, sdk.Invalid("The Secret %q in namespace %q is not Berth's, and Berth keeps its record of this part under that name: rename it.", got.Name, got.Namespace)
		}
		return nil, sdk.Invalid("The record %q in namespace %q is that of %s: give this app another `namespace` in Berth's config.", got.Name, got.Namespace, r.owner.Toward(s.mine))
	}
	return r, nil
}

// decodeRecord reads a record. What cannot be read of it is made up for by its
// annotations, which name the kinds.
func decodeRecord(name string, labels, annotations map[string]string, data []byte) *record {
	r := &record{}
	if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		d := json.NewDecoder(io.LimitReader(z, maxUnpacked))
		d.UseNumber()
		if d.Decode(r) != nil {
			r = &record{}
		}
	}
	for i, o := range r.Objects {
		r.Objects[i], _ = kube.CopyValue(o).(map[string]any)
	}
	r.name, r.owner = name, kube.LabelsOwner(labels)
	known := map[string]bool{}
	for _, k := range r.Kinds {
		known[k.key()] = true
	}
	for _, gk := range splitList(annotations[annotationKinds]) {
		kind, group, _ := strings.Cut(gk, ".")
		if k := (kindOf{Group: group, Kind: kind}); !known[k.key()] {
			r.Kinds = append(r.Kinds, k)
		}
	}
	for _, ns := range splitList(annotations[annotationPlaces]) {
		if !slices.Contains(r.Places, ns) {
			r.Places = append(r.Places, ns)
		}
	}
	return r
}

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// save writes the record.
func (s *session) save(ctx context.Context, r *record) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	var kinds []string
	for _, k := range r.Kinds {
		kinds = append(kinds, strings.TrimSuffix(k.key(), "."))
	}
	slices.Sort(kinds)
	slices.Sort(r.Places)
	name := recordName(s.step)
	labels := s.mine.Labels()
	labels[labelSet] = setID(name, s.step.Namespace)
	meta := map[string]any{
		"name": name, "namespace": s.step.Namespace, "labels": texts(labels),
		"annotations": map[string]any{
			annotationTooling: "berth/" + Version,
			annotationKinds:   strings.Join(slices.Compact(kinds), ","),
			annotationPlaces:  strings.Join(r.Places, ","),
		},
	}
	u := kube.ObjectOf(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": recordType, "metadata": meta,
		"data": map[string]any{recordKey: base64.StdEncoding.EncodeToString(data)},
	})
	if r.uid != "" {
		meta["uid"] = r.uid
	}
	made, err := s.cluster.Dynamic().Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).
		Namespace(s.step.Namespace).Apply(ctx, name, u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("the record of the part: %w", err)
	}
	r.uid, r.name = string(made.GetUID()), name
	return nil
}

// encode is the record as it is kept. Objects are left out when they would make
// it too large: they are for comparing, and what is there is found without them.
func (r *record) encode() ([]byte, error) {
	for _, objects := range [][]map[string]any{r.Objects, nil} {
		kept := *r
		kept.Objects = objects
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if err := json.NewEncoder(z).Encode(kept); err != nil {
			return nil, sdk.Internal("The record of the part cannot be written: %w", err)
		}
		if err := z.Close(); err != nil {
			return nil, sdk.Internal("The record of the part cannot be written: %w", err)
		}
		if b.Len() <= maxRecord {
			return b.Bytes(), nil
		}
	}
	return nil, sdk.Invalid("The part has too many objects to be kept track of; divide it into several parts.")
}
