package helm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// explain makes err one that says in plain words what is wrong and what to do.
func explain(err error, cluster sdk.Cluster) *sdk.Error {
	return kube.Explain(err, cluster, explainHelm)
}

// owned is Helm's sentence on an object that another release or person made.
// Source: helm.sh/helm/v3/pkg/action, validate.go.
var owned = regexp.MustCompile(`(\w+) "([^"]+)" in namespace "([^"]*)" exists and cannot be imported`)

// unknownKind is what the REST mapper says of a kind that the cluster lacks.
var unknownKind = regexp.MustCompile(`no matches for kind "([^"]+)" in version "([^"]+)"`)

// explainHelm is about what Helm itself refused, and what of a cluster's refusals
// is about releases and charts.
func explainHelm(err error, cluster string) (msg string, retry, ok bool) {
	text := err.Error()
	if m := owned.FindStringSubmatch(text); m != nil {
		return fmt.Sprintf("%s %q is already there in namespace %q and belongs to something else. Delete or rename it, or give the part another `release` or namespace.", m[1], m[2], m[3]), false, true
	}
	if m := unknownKind.FindStringSubmatch(text); m != nil || meta.IsNoMatchError(err) {
		kind := "a kind of object"
		if m != nil {
			kind = fmt.Sprintf("%s (%s)", m[1], m[2])
		}
		return cluster + " does not know " + kind + ", which the chart uses: install what defines it, or turn it off in the values.", false, true
	}
	if strings.Contains(text, "Too long: may not be more than 1048576 bytes") || strings.Contains(text, "Too long: must have at most 1048576 bytes") {
		return "The chart is too large for Helm: a release with all its files must fit into 1 MiB. Leave files out with .helmignore.", false, true
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		return "", false, false // what API servers refuse is no chart's fault until it says so
	}
	switch {
	case strings.Contains(text, "error parsing") || strings.Contains(text, "error converting YAML") || strings.Contains(text, "YAML parse error"):
		return "A template of the chart does not give valid YAML: " + kube.Clip(kube.OneLine(err), 500) + ".", false, true
	case strings.Contains(text, "chart requires kubeVersion"):
		return "The chart does not fit this cluster: " + kube.Clip(kube.OneLine(err), 200) + ".", false, true
	}
	return "", false, false
}
