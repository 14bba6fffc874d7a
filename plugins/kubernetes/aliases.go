package kubernetes

import (
	"bytes"

	"go.yaml.in/yaml/v3"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Weights of what a folder's aliases write out, in bytes: kustomize replaces each
// by a copy of what it stands for, without a limit, and a few lines of aliases of
// aliases would take all memory.
const (
	weightOfNode = 64
	maxExpanded  = 4 * maxSource
)

// checkAliases refuses files whose aliases stand for more than fits. What is no
// YAML is passed over: kustomize can write nothing out of it either.
func checkAliases(files []file) error {
	left := maxExpanded
	for _, f := range files {
		if left -= expanded(f.data, 0); left < 0 {
			return sdk.Invalid("%q has YAML aliases that stand for more than %d MiB; write out what is needed.", kube.Clip(f.path, 120), maxExpanded>>20)
		}
	}
	return nil
}

// expanded is the weight of a file's documents with aliases replaced, 0 where
// there are none. Texts in it may be documents themselves, as inline patches are.
func expanded(data []byte, depth int) int {
	if !bytes.ContainsRune(data, '&') || !bytes.ContainsRune(data, '*') || depth > 1 {
		return 0
	}
	sum := 0
	for _, doc := range bytes.Split(data, []byte("\n---")) {
		var n yaml.Node
		if yaml.Unmarshal(doc, &n) != nil {
			continue
		}
		w := weigher{known: map[*yaml.Node]int{}, depth: depth}
		if sum += w.weigh(&n); sum > maxExpanded {
			return sum
		}
	}
	return sum
}

// weigher weighs each node once, however often it is meant.
type weigher struct {
	known map[*yaml.Node]int
	depth int
}

func (w *weigher) weigh(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if sum, ok := w.known[n]; ok {
		return sum
	}
	w.known[n] = maxExpanded + 1 // of a node that is in itself
	sum := weightOfNode + len(n.Value) + expanded([]byte(n.Value), w.depth+1)
	for _, inner := range n.Content {
		sum = min(sum+w.weigh(inner), maxExpanded+1)
	}
	w.known[n] = sum
	return sum
}
