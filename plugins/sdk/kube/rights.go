package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Rights are what an executor needs to be allowed in a cluster.
type Rights struct {
	// Role is what the YAML that people paste calls the roles: "berth-helm".
	Role string
	// Namespaced are needed in each namespace that an environment has. Without them
	// the executor cannot work there.
	Namespaced []rbacv1.PolicyRule
	// Cluster are needed in the whole cluster. Without them the executor works in
	// namespaces that are there already, and does less: Without says what.
	Cluster []rbacv1.PolicyRule
	Without string
}

// Verbs that rules are made of.
var (
	ReadVerbs = []string{"get", "list", "watch"}
	AllVerbs  = []string{"get", "list", "watch", "create", "update", "patch", "delete"}
)

// Check implements sdk.Checker for an executor that needs those rights: it asks
// the API server, by SelfSubjectAccessReview, for each of them, and has the YAML of
// the least role for those that are missing. A cluster that cannot be asked is an
// error.
func (r Rights) Check(ctx context.Context, c *Cluster, namespace string) ([]sdk.Finding, error) {
	served, err := c.Reach(ctx)
	if err != nil {
		return nil, err
	}
	who, err := c.whoAmI(ctx)
	if err != nil {
		return nil, err
	}
	out := []sdk.Finding{{Name: "cluster", OK: true, Detail: fmt.Sprintf("Kubernetes %s answers, to %q", served.Version.GitVersion, Clip(who, 100))}}
	namespace = cmp.Or(namespace, "default")
	lacks, err := c.lacking(ctx, namespace, r.Namespaced)
	if err != nil {
		return nil, err
	}
	in := sdk.Finding{Name: fmt.Sprintf("rights in namespace %q", namespace), OK: len(lacks) == 0, Detail: "all that is needed is allowed"}
	if len(lacks) > 0 {
		in.Detail = "not allowed: " + few(lacks)
		in.Fix = "Have an administrator of the cluster apply this, in each namespace that an environment has; or bind the role in the whole cluster, with a ClusterRole and ClusterRoleBinding."
		in.Paste = r.yaml("Role", namespace, who, r.Namespaced)
	}
	out = append(out, in)
	if len(r.Cluster) == 0 {
		return out, nil
	}
	lacks, err = c.lacking(ctx, "", r.Cluster)
	if err != nil {
		return nil, err
	}
	whole := sdk.Finding{Name: "rights in the whole cluster", OK: true, Detail: "all that is of use is allowed"}
	if len(lacks) > 0 {
		whole.Detail = "not allowed: " + few(lacks) + ". " + r.Without
		whole.Fix = "Nothing, where that is meant so. Else have an administrator of the cluster apply this."
		whole.Paste = r.yaml("ClusterRole", "", who, r.Cluster)
	}
	return append(out, whole), nil
}

func few(words []string) string {
	const most = 8
	if n := len(words); n > most {
		words = append(words[:most:most], fmt.Sprintf("and %d more", n-most))
	}
	return strings.Join(words, ", ")
}

// whoAmI is the name of the account that the API server takes requests for.
func (c *Cluster) whoAmI(ctx context.Context) (string, error) {
	got, err := c.clientset.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authnv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return got.Status.UserInfo.Username, nil
}

// lacking are the rights of rules that the API server does not give, each as
// "create deployments.apps".
func (c *Cluster) lacking(ctx context.Context, namespace string, rules []rbacv1.PolicyRule) ([]string, error) {
	type thing struct{ group, resource string }
	var things []thing
	verbs := map[thing][]string{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				t := thing{group, resource}
				if verbs[t] == nil {
					things = append(things, t)
				}
				verbs[t] = append(verbs[t], rule.Verbs...)
			}
		}
	}
	found := make([][]string, len(things))
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, t := range things {
		group.Go(func() error {
			may, err := c.may(side, namespace, "*", t.group, t.resource)
			if may || err != nil {
				return err
			}
			var lacks []string
			for _, verb := range verbs[t] {
				may, err := c.may(side, namespace, verb, t.group, t.resource)
				if err != nil {
					return err
				}
				if !may {
					lacks = append(lacks, verb)
				}
			}
			if len(lacks) > 0 {
				found[i] = []string{strings.Join(lacks, "/") + " " + strings.TrimSuffix(t.resource+"."+t.group, ".")}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

func (c *Cluster) may(ctx context.Context, namespace, verb, group, resource string) (bool, error) {
	resource, sub, _ := strings.Cut(resource, "/")
	got, err := c.clientset.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authzv1.SelfSubjectAccessReview{
		Spec: authzv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authzv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: sub,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return got.Status.Allowed, nil
}

// yaml is a role with those rules and its binding to who.
func (r Rights) yaml(kind, namespace, who string, rules []rbacv1.PolicyRule) string {
	meta := map[string]any{"name": r.Role}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	var all []any
	for _, rule := range rules {
		all = append(all, map[string]any{"apiGroups": rule.APIGroups, "resources": rule.Resources, "verbs": rule.Verbs})
	}
	subject := map[string]any{"kind": "User", "name": who, "apiGroup": rbacv1.GroupName}
	if rest, ok := strings.CutPrefix(who, "system:serviceaccount:"); ok {
		ns, name, _ := strings.Cut(rest, ":")
		subject = map[string]any{"kind": "ServiceAccount", "name": name, "namespace": ns}
	}
	var b strings.Builder
	for i, doc := range []map[string]any{
		{"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": kind, "metadata": meta, "rules": all},
		{
			"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": kind + "Binding", "metadata": meta,
			"roleRef": map[string]any{"apiGroup": rbacv1.GroupName, "kind": kind, "name": r.Role}, "subjects": []any{subject},
		},
	} {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.Marshal(doc)
		if err != nil {
			return "" // texts and lists of them can be written
		}
		b.Write(text)
	}
	return b.String()
}

// NamespaceRights are the rights in the whole cluster that making and taking away
// namespaces, and finding what an installation owns, need.
func NamespaceRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: AllVerbs},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"list"}},
	}
}

// WithoutNamespaces says what an executor cannot do without NamespaceRights.
const WithoutNamespaces = "Without that, namespaces have to be there before an environment is deployed and stay when it is cleaned up, and orphans are not found"

// WorkloadRights are the rights in a namespace for the kinds that applications are
// mostly made of, and for seeing how they are.
func WorkloadRights() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"}, Verbs: AllVerbs},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: AllVerbs},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: AllVerbs},
		{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"ingresses", "networkpolicies"}, Verbs: AllVerbs},
		{APIGroups: []string{"autoscaling"}, Resources: []string{"horizontalpodautoscalers"}, Verbs: AllVerbs},
		{APIGroups: []string{"policy"}, Resources: []string{"poddisruptionbudgets"}, Verbs: AllVerbs},
		{APIGroups: []string{""}, Resources: []string{"pods", "pods/log", "events"}, Verbs: ReadVerbs},
	}
}
