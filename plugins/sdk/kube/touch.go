package kube

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// clusterWide are the kinds of Kubernetes itself that are in no namespace.
// Source: `kubectl api-resources --namespaced=false`, Kubernetes 1.36.
var clusterWide = map[string]bool{
	"Namespace": true, "Node": true, "PersistentVolume": true, "StorageClass": true, "VolumeAttachment": true, "CSIDriver": true, "CSINode": true,
	"VolumeAttributesClass": true, "ClusterRole": true, "ClusterRoleBinding": true, "CustomResourceDefinition": true, "APIService": true,
	"PriorityClass": true, "RuntimeClass": true, "IngressClass": true, "GatewayClass": true, "DeviceClass": true,
	"MutatingWebhookConfiguration": true, "ValidatingWebhookConfiguration": true,
	"ValidatingAdmissionPolicy": true, "ValidatingAdmissionPolicyBinding": true, "MutatingAdmissionPolicy": true, "MutatingAdmissionPolicyBinding": true,
	"FlowSchema": true, "PriorityLevelConfiguration": true, "CertificateSigningRequest": true, "ClusterTrustBundle": true,
	"IPAddress": true, "ServiceCIDR": true, "StorageVersionMigration": true,
}

// ClusterWide tells whether objects of a kind of Kubernetes itself are in no
// namespace.
func ClusterWide(kind string) bool { return clusterWide[kind] }

// keepsData matches the kinds of operators for databases, queues and storage:
// when such an object goes, what it stands for goes with it. It is looked for in
// "group/Kind" of kinds that are not Kubernetes' own. A false alarm makes
// somebody look once more; a missed one takes data away unseen.
var keepsData = regexp.MustCompile(`(?i)(postgres|pgcluster|cnpg|mysql|mariadb|vitess|percona|mongo|redis|valkey|dragonfly|kafka|pulsar|rabbitmq|elasticsearch|opensearch|cassandra|scylla|clickhouse|cockroach|couch|neo4j|etcd|minio|influx|database|dbinstance|dbcluster|bucket|volume|claim|dataset|snapshot|backup|filesystem|objectstore|keyvalue|\btable\b|tablespace|topic|queue$)`)

// TakesData tells whether data goes when o does.
func TakesData(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "PersistentVolumeClaim", "StatefulSet", "Namespace", "PersistentVolume", "CustomResourceDefinition":
		return true
	}
	group := o.GroupVersionKind().Group
	if group == "" || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") && !strings.HasSuffix(group, ".x-k8s.io") && group != "snapshot.storage.k8s.io" {
		return false
	}
	return keepsData.MatchString(group + "/" + o.GetKind())
}

// shrinks tells whether an update of a StatefulSet takes claims away: those of
// the replicas that go, where it says so.
// Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention
func shrinks(was, is *unstructured.Unstructured) bool {
	if is.GetKind() != "StatefulSet" {
		return false
	}
	policy, _, _ := unstructured.NestedString(is.Object, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled")
	return policy == "Delete" && number64(is, 1, "spec", "replicas") < number64(was, 1, "spec", "replicas")
}

// Resources are the resources that changes are about. namespace is that of
// objects that name none.
func (c *Changes) Resources(namespace string) []sdk.Resource {
	var out []sdk.Resource
	add := func(o *unstructured.Unstructured, change sdk.Change, destructive bool) {
		in := o.GetNamespace()
		switch {
		case ClusterWide(o.GetKind()):
			in = ""
		case in == "":
			in = namespace
		}
		out = append(out, sdk.Resource{Kind: o.GetKind(), Name: o.GetName(), Namespace: in, Change: change, Destructive: destructive})
	}
	for _, o := range c.Removed {
		add(o, sdk.ChangeDelete, TakesData(o))
	}
	for i, o := range c.Changed {
		add(o, sdk.ChangeUpdate, shrinks(c.Were[i], o))
	}
	for _, o := range c.Added {
		add(o, sdk.ChangeCreate, false)
	}
	return Once(out)
}

// Once leaves out resources that are there already: kinds of the same name in
// two API groups cannot be told apart by what a resource says.
func Once(all []sdk.Resource) []sdk.Resource {
	at := map[string]int{}
	out := all[:0:0]
	for _, r := range all {
		key := fmt.Sprintf("%s/%s/%s", r.Kind, r.Namespace, r.Name)
		if i, ok := at[key]; ok {
			out[i].Destructive = out[i].Destructive || r.Destructive
			continue
		}
		at[key] = len(out)
		out = append(out, r)
	}
	return out
}

// AnyDestructive tells whether one of all takes data away.
func AnyDestructive(all []sdk.Resource) bool {
	for _, r := range all {
		if r.Destructive {
			return true
		}
	}
	return false
}
