package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// planCleanup says what cleanup would take away.
func (x *Executor) planCleanup(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{
		Summary: "uninstall release " + s.Release,
		Inputs:  map[string]string{"release": step.Namespace + "/" + s.Release},
	}
	if step.Brief {
		return plan, nil
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return sdk.Plan{}, err
	}
	mine, err := ses.marked(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	var parts []sdk.Plan
	for _, name := range mine.releases {
		ses.settings.Release = name
		part := sdk.Plan{Summary: "uninstall release " + name}
		if err := x.planUninstall(ctx, ses, step, mine, &part); err != nil {
			return sdk.Plan{}, err
		}
		parts = append(parts, part)
	}
	var summaries []string
	for _, part := range parts {
		summaries = append(summaries, part.Summary)
		plan.Diff += part.Diff
		plan.Resources = append(plan.Resources, part.Resources...)
		plan.Cost = strings.Trim(plan.Cost+"; "+part.Cost, "; ")
	}
	for _, a := range mine.archives {
		plan.Diff += "- Secret/" + a.name + "\n"
		plan.Resources = append(plan.Resources, sdk.Resource{Kind: kube.KindArchive, Name: a.name, Namespace: ses.namespace, Change: sdk.ChangeDelete, Destructive: true})
	}
	plan.Summary = strings.Join(summaries, "; ")
	plan.Resources = kube.Once(plan.Resources)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	return plan, nil
}

// planUninstall says in plan what goes with the session's release.
func (x *Executor) planUninstall(ctx context.Context, ses *session, step sdk.Step, mine *marked, plan *sdk.Plan) error {
	past, err := ses.history(ctx)
	if err != nil {
		return err
	}
	own, err := ses.holdings(ctx, past, step)
	if err != nil {
		return err
	}
	if len(past) > 0 && !own.release {
		plan.Summary += ": it stays, since " + own.stays
		return nil
	}
	var claims []corev1.PersistentVolumeClaim
	if own.claims || len(mine.archives) > 0 {
		if claims, err = ses.claims(ctx, own.claims, ses.claimNames(past), mine.claims); err != nil {
			return err
		}
	}
	return x.tellLoss(plan, past, claims, step.Namespace)
}

// tellLoss says in plan what goes with the last of past, which may be none, and
// with claims.
func (x *Executor) tellLoss(plan *sdk.Plan, past []*release.Release, claims []corev1.PersistentVolumeClaim, namespace string) error {
	rel := last(past)
	var before []*unstructured.Unstructured
	if rel != nil {
		before = manifestOf(rel)
	}
	mask := kube.NewMasker(x.masking, configOf(rel), before)
	c, err := kube.Compare(before, nil, mask, mask, kept)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, o := range c.Removed {
		b.WriteString("- " + o.GetKind() + "/" + o.GetName() + "\n")
	}
	for _, claim := range claims {
		line := "- PersistentVolumeClaim/" + claim.Name + "\n"
		if !strings.Contains(b.String(), line) {
			b.WriteString(line)
		}
	}
	plan.Diff = b.String()
	for _, claim := range claims {
		c.Removed = append(c.Removed, claimOf(claim))
	}
	removed := len(c.Removed) - len(claims)
	c.Removed = append(c.Removed, leftByHooks(past)...)
	plan.Resources = c.Resources(namespace)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	if freed := kube.NeedOf(before).String(); freed != "" {
		plan.Cost = "gives back " + freed
	}
	switch {
	case rel == nil && len(claims) == 0:
		plan.Summary += ": it is not there"
	case len(claims) > 0:
		plan.Summary += fmt.Sprintf(": %s, and %s with data", kube.Count(removed, "object"), kube.Count(len(claims), "volume claim"))
	default:
		plan.Summary += ": " + kube.Count(removed, "object")
	}
	return nil
}

// claimOf is a claim as an object.
func claimOf(c corev1.PersistentVolumeClaim) *unstructured.Unstructured {
	return kube.ObjectOf(map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": c.Name, "namespace": c.Namespace},
	})
}

// leftByHooks are the objects of hooks that an uninstall takes away too; Helm
// alone would leave them.
func leftByHooks(past []*release.Release) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, rel := range past {
		for _, h := range rel.Hooks {
			if h.LastRun.StartedAt.IsZero() || h.Kind == "CustomResourceDefinition" || h.Kind == "Namespace" {
				continue
			}
			if over := map[release.HookPhase]release.HookDeletePolicy{release.HookPhaseSucceeded: release.HookSucceeded, release.HookPhaseFailed: release.HookFailed}[h.LastRun.Phase]; slices.Contains(h.DeletePolicies, over) {
				continue // Helm has taken it away when it ended
			}
			objects, err := parseManifest(h.Manifest)
			if err != nil {
				continue // a cleanup cannot read it either, and leaves it
			}
			for _, o := range objects {
				if !kept(o) {
					out = append(out, o)
				}
			}
		}
	}
	return out
}
