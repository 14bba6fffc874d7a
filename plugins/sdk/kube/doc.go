// Package kube is what executors that work on a Kubernetes cluster share: ways
// into clusters, errors in plain words, marks of ownership, namespaces, waiting
// with reasons, masked diffs, sleep, logs and more. It is public: an executor of
// a third party may stand on it as Berth's own do. It knows nothing of Helm.
//
// Start with Clusters, which keeps connections between calls:
//
//	clusters := kube.NewClusters("berth-example/0.1.0")
//	…
//	cluster, err := clusters.Open(step.Cluster)
//	if err != nil {
//		return err
//	}
//	if _, err := cluster.Reach(ctx); err != nil {
//		return kube.Explain(err, step.Cluster)
//	}
//
// Objects are *unstructured.Unstructured everywhere. What an executor makes
// bears the marks that Owner gives, and what lacks them is never changed or
// deleted.
package kube
