package dns

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
)

const certificatesPage = "../../docs/certificates.md"

// pageBlocks are the YAML examples of the page that people read.
func pageBlocks(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(certificatesPage)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, part := range strings.Split(string(page), "```") {
		if text, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			out = append(out, text)
		}
	}
	return out
}

// rights are the roles of the page, by name.
func rights(t *testing.T) map[string]rbacv1.Role {
	t.Helper()
	out := map[string]rbacv1.Role{}
	for _, block := range pageBlocks(t) {
		var role rbacv1.Role
		if strings.Contains(block, "kind: Role") {
			if err := yaml.UnmarshalStrict([]byte(block), &role); err != nil {
				t.Fatal(err)
			}
			out[role.Name] = role
		}
	}
	return out
}

// account makes a service account with roles in namespaces, and is the path of a
// kubeconfig with its token.
func (w *tlsWorld) limited(roles map[string]rbacv1.Role) string {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	if _, err := w.client.CoreV1().ServiceAccounts(w.home).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "limited"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for namespace, role := range roles {
		role.Namespace = namespace
		if _, err := w.client.RbacV1().Roles(namespace).Create(ctx, &role, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: role.Name},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "limited", Namespace: w.home}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := w.client.CoreV1().ServiceAccounts(w.home).CreateToken(ctx, "limited", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTheRightsOfThePageAreEnough does all with the rights that the page gives,
// and no others.
func TestTheRightsOfThePageAreEnough(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	roles := rights(t)
	namespace := w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	step.Cluster.Kubeconfig = w.limited(map[string]rbacv1.Role{w.home: roles["berth-certificates"], namespace: roles["berth-certificate-copies"]})
	w.plan(step)
	w.run(step)
	w.leaf(w.secret(namespace, "tls-web"), "pr-1.shop.preview.example.org")
	if o := w.observe(step); o.Health != sdk.Healthy {
		t.Errorf("seen is %+v", o)
	}
	owned, err := w.x.Inventory(t.Context(), sdk.Scope{Cluster: step.Cluster, Installation: step.Installation, Settings: w.settings})
	if err != nil || len(owned) == 0 {
		t.Errorf("owned are %v, %v", owned, err)
	}
	step.Verb = sdk.Cleanup
	w.plan(step)
	w.run(step)
	if w.secret(namespace, "tls-web") != nil {
		t.Error("the Secret is still there")
	}
	w.keptAtHome(keepsAccount)
}

func TestARightThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	namespace := w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", own())
	step.Cluster.Kubeconfig = w.limited(map[string]rbacv1.Role{namespace: rights(t)["berth-certificate-copies"]})
	e, _ := w.fails(step)
	if e.Fault != sdk.FaultDownstream || !strings.Contains(e.Msg, "secrets") || !strings.Contains(e.Msg, w.home) || w.ca.count(pathNewOrder) != 0 {
		t.Errorf("it says %v, with %d orders", e, w.ca.count(pathNewOrder))
	}
	step = w.tls(sdk.Deploy, "pr-1", own())
	w.acme("namespace", "none-"+w.id)
	if e, _ := w.fails(step); e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, "none-"+w.id) || !strings.Contains(e.Msg, "`acme`") {
		t.Errorf("without the home namespace it says %v", e)
	}
	w.acme("namespace", w.home)
	step.Namespace = "gone-" + w.id
	if e, _ := w.fails(step); e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, "gone-"+w.id) {
		t.Errorf("without the environment's namespace it says %v", e)
	}
	w.noChallenges()
}

// TestTheExampleOfThePageIsTaken reads the settings and the part of the page's
// example as the executor does.
func TestTheExampleOfThePageIsTaken(t *testing.T) {
	t.Parallel()
	var config struct {
		Plugins struct {
			DNS struct {
				Settings map[string]any `json:"settings"`
			} `json:"dns"`
		} `json:"plugins"`
		Apps struct {
			Shop struct {
				Parts []struct {
					Use  string         `json:"use"`
					With map[string]any `json:"with"`
				} `json:"parts"`
			} `json:"shop"`
		} `json:"apps"`
	}
	if err := yaml.Unmarshal([]byte(pageBlocks(t)[0]), &config); err != nil {
		t.Fatal(err)
	}
	part := config.Apps.Shop.Parts[1]
	part.With["name"] = strings.ReplaceAll(part.With["name"].(string), "{{ .Name }}", "pr-42")
	x := New(Options{})
	j, err := x.job(sdk.Step{App: "shop", Env: "pr-42", Part: "url", Verb: sdk.Deploy, Namespace: "shop-pr-42", With: part.With, Settings: config.Plugins.DNS.Settings})
	if err != nil {
		t.Fatal(err)
	}
	wish, acme, err := x.annexes[0].(*certificates).wish(j)
	if err != nil || wish.names[0] != "*.shop.preview.example.org" || acme.directory != letsEncrypt || acme.namespace != "berth" {
		t.Errorf("it is %+v, %+v, %v", wish, acme, err)
	}
}
