// Package stages says how simulated pods live: which become ready and when, and
// which fail in what way. KWOK carries it out; there is no kubelet.
package stages

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	nodeheartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/v1alpha1"
	"sigs.k8s.io/yaml"
)

// Annotations of a pod that steer its simulation.
const (
	// FailAnnotation names the way in which a pod fails: one of the reasons below,
	// or any other text, which becomes the reason that its containers wait for.
	FailAnnotation = "devcluster/fail"
	// ReadyAfterAnnotation is a Go duration ("5s"): the pod runs for so long
	// before it is ready.
	ReadyAfterAnnotation = "devcluster/ready-after"
)

// Reasons with a meaning of their own as a value of FailAnnotation.
const (
	ImagePullBackOff  = "ImagePullBackOff"
	ErrImagePull      = "ErrImagePull"
	CreateConfigError = "CreateContainerConfigError"
	CrashLoopBackOff  = "CrashLoopBackOff"
	Error             = "Error" // the same as CrashLoopBackOff
	OOMKilled         = "OOMKilled"
	NotReady          = "NotReady"
	Pending           = "Pending"
	Unschedulable     = "Unschedulable" // the same as Pending
)

// SchedulerPlugin is the scheduler plugin that keeps Unschedulable pods pending.
const SchedulerPlugin = "DevclusterUnschedulable"

// IsUnschedulable reports whether a pod with these annotations must stay Pending.
func IsUnschedulable(annotations map[string]string) bool {
	reason := annotations[FailAnnotation]
	return reason == Pending || reason == Unschedulable
}

// impossibleImage is the regular expression (of gojq and of Go alike) for an
// image that no registry can have: the top-level domain `invalid` is reserved
// for that (RFC 6761, section 6.4), and the two tags say it themselves.
const impossibleImage = `^[^/]+[.]invalid(:[0-9]+)?/|:(missing|does-not-exist)(@.*)?$`

// failure is the jq expression for the way in which a pod fails, or "". What
// its annotation says goes first.
const failure = `(.metadata.annotations["` + FailAnnotation + `"] | values | select(. != "")) // ` +
	`(if [((.spec.initContainers // []) + .spec.containers)[].image | select(test("` + impossibleImage + `"))] | length > 0 ` +
	`then "` + ImagePullBackOff + `" else "" end)`

// reasonsThatRun are those whose containers start, unlike all others.
var reasonsThatRun = []string{CrashLoopBackOff, Error, OOMKilled, NotReady}

var reasonsThatCrash = []string{CrashLoopBackOff, Error, OOMKilled}

const (
	phase = ".status.phase"
	// started is the first container's start; crashed is its end.
	started = ".status.containerStatuses[0].state.running.startedAt"
	waits   = ".status.containerStatuses[0].state | (.waiting // .terminated) | values | length"
	ready   = `.status.conditions[]? | select(.type == "Ready") | .status`
	// inJob yields Job for a pod of one; alone yields true for one without owner,
	// such as a pod that is a Helm hook.
	inJob  = `.metadata.ownerReferences[]?.kind`
	runOut = `((.metadata.ownerReferences // []) | any(.kind == "Job")) or ` +
		`(((.metadata.ownerReferences // []) | length == 0) and .spec.restartPolicy != "Always")`
)

// crashAfter is how long a crashing container runs, in milliseconds: long
// enough for its first log lines, short enough that one sees it waiting.
const crashAfter = 150

// restartDelay is the jq expression for the time until a crashed container
// starts again: half a second that doubles up to a minute. A real kubelet does
// the same, from 10 s to 5 min.
const restartDelay = `(.status.containerStatuses[0].restartCount // 0) | ` +
	`["500ms", "1s", "2s", "4s", "8s", "16s", "32s"][.] // "60s"`

//go:embed templates/*.yaml
var templates embed.FS

// KWOKConfig is the configuration file for KWOK. Nothing in it lets KWOK serve
// logs, exec, attach or port-forward: those would run and dial on this machine.
func KWOKConfig() ([]byte, error) {
	docs := []string{nodefast.DefaultNodeInit, nodeheartbeat.DefaultNodeHeartbeatWithLease, podfast.DefaultPodDelete}
	for _, s := range podStages() {
		doc, err := yaml.Marshal(s)
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.Name, err)
		}
		docs = append(docs, string(doc))
	}
	return []byte(strings.Join(docs, "\n---\n")), nil
}

// podStages are the steps of a pod's life. At most one of them fits a pod at
// any time.
func podStages() []v1alpha1.Stage {
	return []v1alpha1.Stage{
		// What runs and becomes ready.
		stage("pod-ready", "ready", in(phase, "Pending"), in(failure, ""), absent(readyAfter)),
		stage("pod-start", "running", in(phase, "Pending"), in(failure, ""), exists(readyAfter)),
		after(from(readyAfter, 0), stage("pod-ready-later", "ready", in(phase, "Running"), in(failure, ""), exists(readyAfter), notIn(ready, "True"))),
		after(fixed(200), stage("pod-complete", "complete", in(phase, "Running"), in(failure, ""), in(ready, "True"), in(runOut, "true"))),

		// What never starts.
		stage("pod-waiting", "waiting", in(phase, "Pending"), notIn(failure, append([]string{"", Pending, Unschedulable}, reasonsThatRun...)...), absent(".status.containerStatuses")),

		// What starts and fails.
		stage("pod-not-ready", "running", in(phase, "Pending"), in(failure, NotReady)),
		stage("pod-crash-start", "running", in(phase, "Pending"), in(failure, reasonsThatCrash...)),
		after(fixed(crashAfter), stage("pod-crash", "crashed", in(phase, "Running"), in(failure, reasonsThatCrash...), exists(started), notIn(".spec.restartPolicy", "Never"))),
		after(from(restartDelay, 0), stage("pod-crash-restart", "restarted", in(phase, "Running"), in(failure, reasonsThatCrash...), exists(waits))),
		after(fixed(crashAfter), stage("pod-failed", "crashed", in(phase, "Running"), in(failure, reasonsThatCrash...), in(".spec.restartPolicy", "Never"))),
	}
}

// readyAfter is the jq expression for a pod's delay.
const readyAfter = `.metadata.annotations["` + ReadyAfterAnnotation + `"] | values`

// stage is a step for living pods that all of where selects; template is the
// file with the status that it gives them.
func stage(name, template string, where ...v1alpha1.MatchExpression) v1alpha1.Stage {
	body, err := render(template)
	if err != nil {
		panic(err) // an embedded file that is not there is a build fault, and a test's
	}
	return v1alpha1.Stage{
		TypeMeta:   metav1.TypeMeta{APIVersion: "kwok.x-k8s.io/v1alpha1", Kind: "Stage"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.StageSpec{
			ResourceRef: v1alpha1.StageResourceRef{APIGroup: "v1", Kind: "Pod"},
			Selector: &v1alpha1.StageSelector{
				MatchExpressions: append([]v1alpha1.MatchExpression{absent(".metadata.deletionTimestamp")}, where...),
			},
			Next: &v1alpha1.StageNext{StatusTemplate: body},
		},
	}
}

// render puts the shared head before a template: definitions that all may use.
// The template "ready" is "running" with one variable set.
func render(name string) (string, error) {
	set := ""
	if name == "ready" {
		name, set = "running", "{{- $ready = true -}}\n"
	}
	head, err := templates.ReadFile("templates/head.yaml")
	if err != nil {
		return "", err
	}
	body, err := templates.ReadFile("templates/" + name + ".yaml")
	if err != nil {
		return "", err
	}
	names := strings.NewReplacer("IMPOSSIBLE_IMAGE", impossibleImage, "FAIL_ANNOTATION", FailAnnotation)
	return names.Replace(string(head) + set + string(body)), nil
}

func after(d v1alpha1.StageDelay, s v1alpha1.Stage) v1alpha1.Stage {
	s.Spec.Delay = &d
	return s
}

func fixed(milliseconds int64) v1alpha1.StageDelay {
	return v1alpha1.StageDelay{DurationMilliseconds: &milliseconds}
}

func from(expression string, otherwise int64) v1alpha1.StageDelay {
	d := fixed(otherwise)
	d.DurationFrom = &v1alpha1.ExpressionFrom{JQ: &v1alpha1.ExpressionJQ{Expression: expression}}
	return d
}

func in(key string, values ...string) v1alpha1.MatchExpression {
	return where(key, v1alpha1.SelectorOpIn, values...)
}

func notIn(key string, values ...string) v1alpha1.MatchExpression {
	return where(key, v1alpha1.SelectorOpNotIn, values...)
}

func exists(key string) v1alpha1.MatchExpression { return where(key, v1alpha1.SelectorOpExists) }

func absent(key string) v1alpha1.MatchExpression { return where(key, v1alpha1.SelectorOpDoesNotExist) }

func where(key string, op v1alpha1.SelectorOperator, values ...string) v1alpha1.MatchExpression {
	return v1alpha1.MatchExpression{JQ: &v1alpha1.SelectorJQ{Key: key, Operator: op, Values: slices.Clone(values)}}
}
