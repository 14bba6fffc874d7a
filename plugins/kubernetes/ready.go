package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// celCost is the most that evaluating one expression may cost, in CEL's own
	// units: some 10 ms. Source: Kubernetes' limit for one call of a validation rule.
	celCost = 10_000_000
	// celLimit is how long one evaluation may take.
	celLimit = 2 * time.Second
	// maxExpression is the longest expression, in bytes.
	maxExpression = 16 << 10
)

// rules tell how far an object is: by the part's own expressions first, then by
// what is known of its kind.
type rules struct {
	kinds map[string]*expression // by Kind or Kind.group
	waits []awaited
}

// awaited is a resource that `wait` names.
type awaited struct {
	waitBlock
	ready, failed *expression // nil without one
	limit         time.Duration
}

// expression is a compiled CEL expression over `object`.
type expression struct {
	text    string
	program cel.Program
}

func (s *settings) readRules(step sdk.Step) error {
	s.rules = &rules{kinds: map[string]*expression{}}
	for _, kind := range slices.Sorted(maps.Keys(s.raw.Ready)) {
		e, err := compile("`ready` of "+kube.Clip(kind, 60), s.raw.Ready[kind])
		if err != nil {
			return err
		}
		s.rules.kinds[kind] = e
	}
	for _, b := range s.raw.Wait {
		a := awaited{waitBlock: b}
		if b.Kind == "" {
			return sdk.Invalid("An item of `wait` has no `kind`.")
		}
		if err := readName("The `name` under `wait`", b.Name); err != nil {
			return err
		}
		if a.Namespace == "" {
			a.Namespace = step.Namespace
		}
		what := fmt.Sprintf("%s of the wait for %s %s", "`ready`", kube.Clip(b.Kind, 60), b.Name)
		var err error
		if b.Ready != "" {
			if a.ready, err = compile(what, b.Ready); err != nil {
				return err
			}
		}
		if b.Failed != "" {
			if a.failed, err = compile(strings.Replace(what, "ready", "failed", 1), b.Failed); err != nil {
				return err
			}
		}
		if a.limit, err = readDuration("timeout", b.Timeout, 0); err != nil {
			return err
		}
		s.rules.waits = append(s.rules.waits, a)
	}
	return nil
}

func compile(what, text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, sdk.Invalid("The expression %s is longer than %d KiB.", what, maxExpression>>10)
	}
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.OptionalTypes())
	if err != nil {
		return nil, sdk.Internal("CEL cannot be set up: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, sdk.Invalid("The expression %s cannot be used: %s.", what, kube.Clip(strings.Join(strings.Fields(issues.Err().Error()), " "), 300))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, sdk.Invalid("The expression %s gives %s, not true or false.", what, t)
	}
	program, err := env.Program(ast, cel.CostLimit(celCost), cel.InterruptCheckFrequency(1000))
	if err != nil {
		return nil, sdk.Invalid("The expression %s cannot be used: %v.", what, err)
	}
	return &expression{text: text, program: program}, nil
}

// holds evaluates the expression. A field that is not there yet, as those of a
// status often are, counts as not holding; why tells of that and of every other
// error.
func (e *expression) holds(u *unstructured.Unstructured) (ok bool, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), celLimit)
	defer cancel()
	value, _, err := e.program.ContextEval(ctx, map[string]any{"object": u.Object})
	if err != nil {
		return false, kube.Clip(kube.OneLine(err), 200)
	}
	ok, isBool := value.Value().(bool)
	if !isBool {
		return false, "the expression gives no true or false"
	}
	return ok, ""
}

// of tells how an object of the part is.
func (r *rules) of(u *unstructured.Unstructured) kube.Status {
	for _, name := range kindNames(u) {
		if e := r.kinds[name]; e != nil {
			return byExpression(u, e, nil)
		}
	}
	return known(u)
}

// of tells how an awaited resource is.
func (a *awaited) of(u *unstructured.Unstructured, r *rules) kube.Status {
	if a.ready == nil && a.failed == nil {
		return r.of(u)
	}
	return byExpression(u, a.ready, a.failed)
}

func byExpression(u *unstructured.Unstructured, ready, failed *expression) kube.Status {
	if u.GetDeletionTimestamp() != nil {
		return kube.Status{Text: "is being deleted"}
	}
	if failed != nil {
		if ok, _ := failed.holds(u); ok {
			return kube.Status{State: kube.Failed, Text: "has failed: " + kube.Clip(failed.text, 120) + conditionText(u)}
		}
	}
	if ready == nil {
		st := known(u)
		return st
	}
	ok, why := ready.holds(u)
	if ok {
		return kube.Status{State: kube.Ready}
	}
	text := "waits for " + kube.Clip(ready.text, 120)
	if why != "" {
		text += " (" + why + ")"
	}
	return kube.Status{Text: text + conditionText(u)}
}

// kindNames are the ways in which settings may name an object's kind.
func kindNames(u *unstructured.Unstructured) []string {
	gvk := u.GroupVersionKind()
	if gvk.Group == "" {
		return []string{gvk.Kind}
	}
	return []string{gvk.Kind + "." + gvk.Group, gvk.Kind}
}

// known tells how an object of a kind that there is a rule for is.
func known(u *unstructured.Unstructured) kube.Status {
	if kube.GroupKind(u) == "Application.argoproj.io" {
		return lookArgo(u)
	}
	if kube.Ruled(u) {
		return kube.Look(u)
	}
	return lookConditions(u)
}

// lookArgo is for Argo CD: what it has rolled out is what is in the repository,
// and it finds it healthy.
// Source: https://argo-cd.readthedocs.io/en/stable/operator-manual/health/
func lookArgo(u *unstructured.Unstructured) kube.Status {
	if u.GetDeletionTimestamp() != nil {
		return kube.Status{Text: "is being deleted"}
	}
	sync, _, _ := unstructured.NestedString(u.Object, "status", "sync", "status")
	health, _, _ := unstructured.NestedString(u.Object, "status", "health", "status")
	message, _, _ := unstructured.NestedString(u.Object, "status", "health", "message")
	phase, _, _ := unstructured.NestedString(u.Object, "status", "operationState", "phase")
	said, _, _ := unstructured.NestedString(u.Object, "status", "operationState", "message")
	for _, c := range kube.Maps(nestedList(u, "status", "conditions")) {
		if kind, _ := c["type"].(string); strings.HasSuffix(kind, "Error") {
			text, _ := c["message"].(string)
			return kube.Status{Text: "Argo CD says " + kind + ": " + kube.Clip(oneLine(text), 300), Stuck: true}
		}
	}
	_, operating, _ := unstructured.NestedMap(u.Object, "operation")
	switch {
	case sync == "":
		return kube.Status{Text: "Argo CD has not looked at it yet"}
	case phase == "Failed" || phase == "Error":
		return kube.Status{Text: "the sync has failed: " + kube.Clip(oneLine(said), 300), Stuck: true}
	case sync == "Synced" && health == "Healthy" && !operating && phase != "Running":
		return kube.Status{State: kube.Ready}
	case health == "Degraded":
		return kube.Status{Text: strings.TrimSuffix(sync+", Degraded: "+kube.Clip(oneLine(message), 300), ": "), Stuck: true}
	case phase == "Running":
		return kube.Status{Text: "is being synced: " + kube.Clip(oneLine(said), 200)}
	}
	return kube.Status{Text: "is " + sync + " and " + orWord(health, "of unknown health")}
}

// conditioned are groups of kinds whose objects have a status with conditions
// that say when they are ready, so that one that has no status yet is waited for.
// Source: the documentation of Flux, cert-manager and Crossplane; a claim's group
// is the team's own, and it is told by what Crossplane puts into its spec.
var conditioned = []string{".toolkit.fluxcd.io", "cert-manager.io", ".crossplane.io", ".upbound.io", "external-secrets.io", "gateway.networking.k8s.io"}

// lookConditions goes by an object's conditions: Ready, and Synced where
// Crossplane has one, of the generation that is there now. Objects without such
// are ready once they exist.
func lookConditions(u *unstructured.Unstructured) kube.Status {
	group := u.GroupVersionKind().Group
	waited := false
	for _, g := range conditioned {
		waited = waited || group == strings.TrimPrefix(g, ".") || strings.HasPrefix(g, ".") && strings.HasSuffix(group, g)
	}
	for _, field := range []string{"compositionRef", "compositionSelector", "compositeDeletePolicy", "resourceRef", "crossplane"} {
		_, there, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", field)
		waited = waited || there && strings.Contains(group, ".")
	}
	ready, has := conditionOf(u, "Ready")
	switch {
	case !has && !waited || noStatus[kube.GroupKind(u)]:
		return kube.Status{State: kube.Ready}
	case u.GetDeletionTimestamp() != nil:
		return kube.Status{Text: "is being deleted"}
	}
	if synced, ok := conditionOf(u, "Synced"); ok && synced.status == "False" {
		return kube.Status{Text: "is not synced" + synced.why(), Stuck: true}
	}
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return kube.Status{State: kube.Ready}
	}
	if stalled, ok := conditionOf(u, "Stalled"); ok && stalled.status == "True" {
		return kube.Status{State: kube.Failed, Text: "is stalled" + stalled.why()}
	}
	seen, told, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	if ready.observed > 0 {
		seen, told = ready.observed, true
	}
	switch {
	case told && seen < u.GetGeneration():
		return kube.Status{Text: "its controller has not seen the last change yet"}
	case !has:
		return kube.Status{Text: "its controller has not said anything yet"}
	case ready.status == "True":
		return kube.Status{State: kube.Ready}
	}
	return kube.Status{Text: "is not ready" + ready.why()}
}

// noStatus are kinds of those groups that never have a Ready condition.
var noStatus = map[string]bool{
	"Alert.notification.toolkit.fluxcd.io": true, "Provider.notification.toolkit.fluxcd.io": true, "ProviderConfig.aws.upbound.io": true,
	"Composition.apiextensions.crossplane.io": true, "CompositeResourceDefinition.apiextensions.crossplane.io": true,
	"HTTPRoute.gateway.networking.k8s.io": true, "GRPCRoute.gateway.networking.k8s.io": true, "TLSRoute.gateway.networking.k8s.io": true,
	"TCPRoute.gateway.networking.k8s.io": true, "UDPRoute.gateway.networking.k8s.io": true, "ReferenceGrant.gateway.networking.k8s.io": true,
	"Gateway.gateway.networking.k8s.io": true, "GatewayClass.gateway.networking.k8s.io": true, "BackendTLSPolicy.gateway.networking.k8s.io": true,
}

type condition struct {
	status, reason, message string
	observed                int64
}

func (c condition) why() string {
	text := strings.Trim(c.reason+": "+kube.Clip(oneLine(c.message), 300), ": ")
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func conditionOf(u *unstructured.Unstructured, kind string) (condition, bool) {
	for _, c := range kube.Maps(nestedList(u, "status", "conditions")) {
		if c["type"] == kind {
			word := func(key string) string { s, _ := c[key].(string); return s }
			seen, _ := c["observedGeneration"].(int64)
			return condition{word("status"), word("reason"), word("message"), seen}, true
		}
	}
	return condition{}, false
}

// conditionText is what an object's controller says of it, where it says that it
// is not ready.
func conditionText(u *unstructured.Unstructured) string {
	if c, ok := conditionOf(u, "Ready"); ok && c.status != "True" {
		return c.why()
	}
	return ""
}

func nestedList(u *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	return v
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
