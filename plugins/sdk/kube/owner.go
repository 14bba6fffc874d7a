package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Labels of what Berth makes: the marks of ownership.
const (
	LabelApp         = "berth.dev/app"
	LabelEnvironment = "berth.dev/environment"
	LabelPart        = "berth.dev/part" // not on what all parts of an environment share
	// LabelInstallation tells one Berth's things from those of another that uses
	// the same cluster.
	LabelInstallation = "berth.dev/installation"
	LabelManagedBy    = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy on what Berth made, and may
	// take away, itself. It is also the name of its field manager.
	ManagedBy = "berth"
)

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// LabelValue is s where it can be a label's value, else a hash of it.
func LabelValue(s string) string {
	const most = 63 // https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
	clean := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if clean == s && len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "x" + hex.EncodeToString(sum[:16])
}

// StepLabel is a step's ID as a label's value.
func StepLabel(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// Owner is whose a thing is, as its labels say. Names of environments may come
// out the same: app "a" with "b-c" and app "a-b" with "c" are both a-b-c. So what
// is another's is never deployed into, nor taken away.
type Owner struct {
	App, Env     string // as labels have them, see LabelValue
	Part         string // "" for what all parts share, such as a namespace
	Installation string // "" when it is not told, which means ours
}

// LabelsOwner is the owner that labels name.
func LabelsOwner(l map[string]string) Owner {
	return Owner{App: l[LabelApp], Env: l[LabelEnvironment], Part: l[LabelPart], Installation: l[LabelInstallation]}
}

// StepOwner is the owner that labels name for what step makes.
func StepOwner(step sdk.Step) Owner {
	o := Owner{App: LabelValue(step.App), Env: LabelValue(step.Env), Part: LabelValue(step.Part)}
	if step.Installation != "" {
		o.Installation = LabelValue(step.Installation)
	}
	return o
}

// EnvironmentOwner is the owner that labels name for what is all of step's
// environment, not of one of its parts.
func EnvironmentOwner(step sdk.Step) Owner { return StepOwner(step).Environment() }

// NamespaceOwner is whose ns is, the zero owner when Berth did not mark it.
func NamespaceOwner(ns *corev1.Namespace) Owner { return LabelsOwner(ns.Labels).Environment() }

// Environment is o for what all parts share.
func (o Owner) Environment() Owner {
	o.Part = ""
	return o
}

// Is tells whether both are the same. What was made before installations were
// told apart is whoever's has its names.
func (o Owner) Is(other Owner) bool {
	if o.Installation == "" || other.Installation == "" {
		o.Installation, other.Installation = "", ""
	}
	return o == other
}

// SameEnvironment tells whether both are of one environment, whatever part.
func (o Owner) SameEnvironment(other Owner) bool { return o.Environment().Is(other.Environment()) }

// Known tells whether Berth's labels are there at all.
func (o Owner) Known() bool { return o.App != "" || o.Env != "" }

// Labels are what marks a thing as o's. Things that Berth may take away have
// LabelManagedBy as well.
func (o Owner) Labels() map[string]string {
	out := map[string]string{LabelApp: o.App, LabelEnvironment: o.Env}
	if o.Part != "" {
		out[LabelPart] = o.Part
	}
	if o.Installation != "" {
		out[LabelInstallation] = o.Installation
	}
	return out
}

// Selector matches the labels of app, environment and, where there is one, part.
// What it finds may be another installation's: ask Is or SameEnvironment.
func (o Owner) Selector() string {
	terms := []string{LabelApp + "=" + o.App, LabelEnvironment + "=" + o.Env}
	if o.Part != "" {
		terms = append(terms, LabelPart+"="+o.Part)
	}
	return strings.Join(terms, ",")
}

// Toward names o to somebody who expected mine.
func (o Owner) Toward(mine Owner) string {
	if o.Installation != "" && mine.Installation != "" && o.Installation != mine.Installation {
		return o.String() + " of another Berth"
	}
	return o.String()
}

// String is "shop/pr-42", or "shop/pr-42 (part web)".
func (o Owner) String() string {
	if o.Part == "" {
		return o.App + "/" + o.Env
	}
	return o.App + "/" + o.Env + " (part " + o.Part + ")"
}

// RefuseNamespace says why step may not deploy into ns, nil when it may. One
// without Berth's labels is whoever's it is, and used as it is.
func RefuseNamespace(ns *corev1.Namespace, step sdk.Step) error {
	if o, mine := NamespaceOwner(ns), EnvironmentOwner(step); o.Known() && !o.Is(mine) {
		return sdk.Invalid("The namespace %q is that of environment %s, and environments do not share one: give this app another `namespace` in Berth's config. Where they are meant to share it, take the labels %s and %s off the namespace.",
			ns.Name, o.Toward(mine), LabelApp, LabelEnvironment)
	}
	return nil
}
