package helm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// archiveVersion is that of the record's JSON. One that is higher was written
	// by a newer Berth and is not touched.
	archiveVersion = 1
	// archiveType is the type of the Secret that holds the record.
	archiveType = corev1.SecretType("berth.dev/archive.v1")
	// archivePrefix begins that Secret's name; the release's name follows.
	archivePrefix = "berth.archive.v1."
	archiveKey    = "archive.json"
	// maxArchiveRecord is the longest record, in bytes. A Secret holds 1 MiB.
	// Source: k8s.io/api/core/v1, MaxSecretSize.
	maxArchiveRecord = corev1.MaxSecretSize
	// labelArchived marks the revision that stands for a release while it is
	// archived: what it deploys is what was kept. Its value is the revision that
	// was there before.
	labelArchived = "berth.dev/archived"
)

// archived is what an archive remembers of a release. It is written before
// anything is taken away, and deleted when the release is back.
type archived struct {
	Version  int             `json:"version"`
	Release  string          `json:"release"`
	Revision int             `json:"revision"` // of the release, which Helm's history has; 0 when none was ever deployed
	Manifest string          `json:"manifest"` // digest of that revision's manifest
	Chart    string          `json:"chart"`
	Digest   string          `json:"chart_digest"`            // of the chart as the release's record has it
	Values   any             `json:"values,omitempty"`        // left out where they do not fit; the revision has them too
	ValuesAt string          `json:"values_digest,omitempty"` // digest of the values
	Step     string          `json:"step"`                    // label of the step that archived
	At       time.Time       `json:"archived_at"`
	Objects  []kube.Adjusted `json:"objects,omitempty"`
	Claims   []kube.Claim    `json:"claims,omitempty"`
}

// archiveName is the name of the Secret with the record of the release.
func (s *session) archiveName() string { return archivePrefix + s.settings.Release }

// remembered reads the record, nil when there is none.
func (s *session) remembered(ctx context.Context) (*archived, error) {
	secret, err := s.clientset.CoreV1().Secrets(s.namespace).Get(ctx, s.archiveName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var a archived
	if err := json.Unmarshal(secret.Data[archiveKey], &a); err != nil || a.Release != s.settings.Release {
		return nil, sdk.Downstream("What the archive remembers cannot be read: the Secret %q in namespace %q is damaged. Correct it, or delete it and restore with `--ref`, which deploys anew over the data that is there.",
			s.archiveName(), s.namespace)
	}
	if a.Version > archiveVersion {
		return nil, sdk.Invalid("The release was archived by a newer version of Berth's helm executor (record version %d; this one knows %d). Update the executor.", a.Version, archiveVersion)
	}
	s.records.keep = a.Revision
	return &a, nil
}

// remember writes the record.
func (s *session) remember(ctx context.Context, step sdk.Step, a *archived) error {
	data, err := json.Marshal(a)
	if err != nil {
		return sdk.Internal("What is archived cannot be written down: %w", err)
	}
	if len(data) > maxArchiveRecord {
		a.Values = nil // the revision in Helm's history has them
		if data, err = json.Marshal(a); err != nil {
			return sdk.Internal("What is archived cannot be written down: %w", err)
		}
	}
	if len(data) > maxArchiveRecord {
		return sdk.Invalid("The release cannot be archived: what is to be remembered of its %s and %s does not fit into a Secret.", kube.Count(len(a.Objects), "object"), kube.Count(len(a.Claims), "claim"))
	}
	labels := kube.StepOwner(step).Labels()
	labels[kube.LabelManagedBy] = kube.ManagedBy
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.archiveName(), Namespace: s.namespace, Labels: labels},
		Type:       archiveType,
		Data:       map[string][]byte{archiveKey: data},
	}
	secrets := s.clientset.CoreV1().Secrets(s.namespace)
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	}
	s.records.keep = a.Revision
	return err
}

// forget deletes the record.
func (s *session) forget(ctx context.Context) error {
	s.records.keep = 0
	err := s.clientset.CoreV1().Secrets(s.namespace).Delete(ctx, s.archiveName(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// isArchive tells whether a revision stands for an archived release.
func isArchive(rel *release.Release) bool { return rel != nil && rel.Labels[labelArchived] != "" }

// lastReal is the newest revision that was deployed and is no archive, nil
// without one.
func lastReal(past []*release.Release) *release.Release {
	for i := len(past) - 1; i >= 0; i-- {
		if st := past[i].Info.Status; (st == release.StatusDeployed || st == release.StatusSuperseded) && !isArchive(past[i]) {
			return past[i]
		}
	}
	return nil
}

// current tells whether a is about the release as its history shows it: a
// deploy after the archive makes what was remembered void.
func (a *archived) current(past []*release.Release) bool {
	if a == nil {
		return false
	}
	rel := lastReal(past)
	return rel == nil && a.Revision == 0 || rel != nil && rel.Version == a.Revision && manifestDigest(rel) == a.Manifest
}

// manifestDigest tells the manifests of revisions apart.
func manifestDigest(rel *release.Release) string {
	if rel == nil {
		return ""
	}
	return digestOf([]byte(rel.Manifest))
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// about fills in what is known of the revision.
func (a *archived) about(rel *release.Release) error {
	if rel == nil {
		return nil
	}
	a.Revision, a.Manifest, a.Values = rel.Version, manifestDigest(rel), rel.Config
	if rel.Chart != nil && rel.Chart.Metadata != nil {
		a.Chart = rel.Chart.Metadata.Name + " " + rel.Chart.Metadata.Version
		data, err := json.Marshal(rel.Chart)
		if err != nil {
			return sdk.Internal("The release's chart cannot be written down: %w", err)
		}
		a.Digest = digestOf(data)
	}
	var err error
	a.ValuesAt, err = valuesDigest(rel.Config)
	return err
}

// merge takes over what an archive that was interrupted has remembered of
// things that are gone by now.
func (a *archived) merge(before *archived) {
	for _, o := range before.Objects {
		if !slices.ContainsFunc(a.Objects, func(x kube.Adjusted) bool { return x.ID() == o.ID() }) {
			a.Objects = append(a.Objects, o)
		}
	}
	for _, c := range before.Claims {
		if !slices.ContainsFunc(a.Claims, func(x kube.Claim) bool { return x.Name == c.Name && x.Namespace == c.Namespace }) {
			a.Claims = append(a.Claims, c)
		}
	}
	a.At, a.Step = before.At, before.Step
}

// fields are what is to come back, by fullID.
func (a *archived) fields() map[string]map[string]any {
	out := make(map[string]map[string]any, len(a.Objects))
	for _, o := range a.Objects {
		out[o.ID()] = o.Fields
	}
	return out
}
