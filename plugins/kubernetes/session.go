package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Labels and annotations of an ApplySet, by which kubectl finds a part's objects:
// `kubectl get all -l applyset.kubernetes.io/part-of=ID`.
// Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune
const (
	labelSet           = "applyset.kubernetes.io/id"
	labelPartOf        = "applyset.kubernetes.io/part-of"
	annotationTooling  = "applyset.kubernetes.io/tooling"
	annotationKinds    = "applyset.kubernetes.io/contains-group-kinds"
	annotationPlaces   = "applyset.kubernetes.io/additional-namespaces"
	labelJob           = "berth.dev/job" // on a Job of `jobs`, and on its pods: the name there
	recordType         = "berth.dev/applyset"
	recordKey          = "record" // of the Secret: gzipped JSON
	fieldManager       = kube.ManagedBy
	defaultServiceUser = "default" // the ServiceAccount that each namespace has
)

// session is one call's way to its part in the cluster.
type session struct {
	x        *Executor
	step     sdk.Step
	settings *settings
	cluster  *kube.Cluster
	mask     *kube.Masker
	out      sdk.Events
	mine     kube.Owner
	receipts *kube.Receipts // nil in a step that takes nothing away for good
	comeback *archived      // what comes back just as it was; nil without
}

// open makes a session. It reaches out to nothing. Without out nobody listens.
func (x *Executor) open(ctx context.Context, step sdk.Step, s *settings, out sdk.Events) (*session, error) {
	cluster, err := x.clusters.Open(step.Cluster)
	if err != nil {
		return nil, err
	}
	mask := maskOf(ctx)
	return &session{
		x: x, step: step, settings: s, cluster: cluster, mask: mask, out: mask.Events(out),
		mine: kube.StepOwner(step), receipts: kube.NewReceipts(),
	}, nil
}

// namespace is that of the step's environment.
func (s *session) namespace() kube.Namespace {
	return kube.Namespace{Cluster: s.cluster, Step: s.step, Out: s.out}
}

// wait waits for objects of the part.
func (s *session) wait() kube.Wait {
	return kube.Wait{
		Cluster: s.cluster, Namespace: s.step.Namespace, Out: s.out, Mask: s.mask, FailFast: s.settings.failFast,
		Look: s.settings.rules.of,
		Gone: func(u *unstructured.Unstructured) {
			s.receipts.Gone(s.out, sdk.Resource{
				Kind: u.GetKind(), Name: u.GetName(), Namespace: u.GetNamespace(), Destructive: kube.TakesData(u),
			})
		},
	}
}

// recordName is the name of the Secret that a part's record is in.
func recordName(step sdk.Step) string {
	app, env, part := kube.LabelValue(step.App), kube.LabelValue(step.Env), kube.LabelValue(step.Part)
	sum := sha256.Sum256([]byte(step.App + "/" + step.Env + "/" + step.Part))
	return strings.Join([]string{"berth", app, env, part, hex.EncodeToString(sum[:4])}, "-")
}

// setID is the ID of the ApplySet whose parent is that Secret.
func setID(name, namespace string) string {
	sum := sha256.Sum256([]byte(name + "." + namespace + ".Secret."))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// untilDeadline is how long ctx has left, for waits that want a limit.
func untilDeadline(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return defaultTimeout
}
