package helm

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/sdktest"
)

// fails runs a step that is to fail.
func fails(t *testing.T, x *Executor, step sdk.Step) (*sdktest.Recorder, error) {
	t.Helper()
	out := sdktest.NewRecorder()
	err := x.Run(t.Context(), step, out)
	if err == nil {
		t.Fatalf("it succeeded:\n%s", out.Text())
	}
	return out, err
}

func podAnnotation(key, value string) func(*sdk.Step) {
	return with("values", map[string]any{"podAnnotations": map[string]any{key: value}})
}

func TestAnImageThatCannotBePulledSaysSo(t *testing.T) {
	t.Parallel()
	step := preview(t, with("fail_fast", "1s"), with("timeout", "10m"), with("values", map[string]any{
		"image": map[string]any{"repository": "registry.invalid/shop", "tag": "nope"},
	}))
	began := time.Now()
	out, err := fails(t, New(Options{}), step)
	e := fault(t, err, sdk.FaultDownstream, "Deployment shop-pr-42-web is not ready", "0 of 1 pod", `"registry.invalid/shop:nope" cannot be pulled`, "Check that the image", "Last events:")
	if e.Retry {
		t.Error("trying again cannot help")
	}
	if d := time.Since(began); d > 3*time.Minute {
		t.Errorf("took %v to notice", d)
	}
	if !strings.Contains(out.Text(), "cannot be pulled") {
		t.Errorf("the progress does not tell:\n%s", out.Text())
	}
	// What failed can be put right.
	step.ID += "-right"
	step.With["values"] = map[string]any{}
	run(t, New(Options{}), step)
}

func TestACrashingProgramShowsItsLog(t *testing.T) {
	t.Parallel()
	step := preview(t, with("fail_fast", "1s"), podAnnotation("devcluster/fail", "CrashLoopBackOff"))
	_, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, "exit code 1", "restarted", "Last log lines of")
}

func TestAProgramThatNeverGetsReadyTimesOut(t *testing.T) {
	t.Parallel()
	step := preview(t, with("timeout", "30s"), podAnnotation("devcluster/fail", "NotReady"))
	_, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, "It was not ready in time", "readiness probe")
}

func TestPodsThatNoNodeCanTakeSaySo(t *testing.T) {
	t.Parallel()
	step := preview(t, with("timeout", "30s"), with("values", map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "900"}}}))
	_, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, "no node can take it", "Insufficient cpu")
}

func TestMistakesInTheSettings(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	broken := t.TempDir()
	write(t, broken, map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: broken\nversion: 1.0.0\n",
		"templates/a.yaml":      "{{ required \"a name is needed\" .Values.name }}\n",
		"values.schema.json":    `{"$ref": "file:///etc/passwd"}`,
		"charts/.gitkeep":       "",
		"templates/_none.tpl":   "",
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	})
	failing := t.TempDir()
	write(t, failing, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: failing\nversion: 1.0.0\n",
		"templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ required \"a name is needed\" .Values.name }}}\n",
	})
	unknown := t.TempDir()
	write(t, unknown, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: unknown\nversion: 1.0.0\n",
		"templates/a.yaml": "apiVersion: example.org/v1\nkind: Gizmo\nmetadata: {name: g}\n",
	})
	depends := t.TempDir()
	write(t, depends, map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: depends\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.x.x, repository: \"file://../redis\"}]\n",
	})
	linked := t.TempDir()
	write(t, linked, map[string]string{"Chart.yaml": "apiVersion: v2\nname: linked\nversion: 1.0.0\n"})
	if err := os.Symlink("/etc/passwd", filepath.Join(linked, "templates.yaml")); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change []func(*sdk.Step)
		says   []string
	}{
		"a chart that does not exist":               {[]func(*sdk.Step){with("chart", "./charts/none")}, []string{"There is no chart at", "check the path"}},
		"a folder that is no chart":                 {[]func(*sdk.Step){with("chart", t.TempDir())}, []string{"no Chart.yaml"}},
		"a chart that depends on one not there":     {[]func(*sdk.Step){with("chart", depends)}, []string{`needs redis`, "helm dependency build"}},
		"a chart with a link out of it":             {[]func(*sdk.Step){with("chart", linked)}, []string{"links may only point at files inside"}},
		"a value of the wrong type":                 {[]func(*sdk.Step){with("values", map[string]any{"replicaCount": "many"})}, []string{"do not fit the chart", "replicaCount", "got string, want integer"}},
		"a value that the chart does not know":      {[]func(*sdk.Step){with("values", map[string]any{"replicas": 2})}, []string{"additional properties 'replicas' not allowed"}},
		"a set key that the chart does not know":    {[]func(*sdk.Step){func(s *sdk.Step) { s.Set = map[string]string{"image.tga": "x"} }}, []string{"tga"}},
		"a template that fails":                     {[]func(*sdk.Step){with("chart", failing)}, []string{"a name is needed", "failing/templates/a.yaml, line 3"}},
		"a kind that the cluster does not know":     {[]func(*sdk.Step){with("chart", unknown)}, []string{"does not know Gizmo (example.org/v1)"}},
		"a schema that reaches for files":           {[]func(*sdk.Step){with("chart", broken)}, []string{"only references inside it are followed"}},
		"a version that the folder does not have":   {[]func(*sdk.Step){with("version", "9.9.9")}, []string{"has version 0.1.0", "9.9.9"}},
		"a value that the API server does not take": {[]func(*sdk.Step){with("values", map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "much"}}})}, []string{"does not accept", "quantities"}},
		"a kubeconfig that is not there": {[]func(*sdk.Step){func(s *sdk.Step) { s.Cluster.Kubeconfig, s.Cluster.Name = "/none/such", "staging" }},
			[]string{`The kubeconfig of cluster "staging" is not there`}},
		"a context that is not there": {[]func(*sdk.Step){func(s *sdk.Step) { s.Cluster.Context = "moon" }}, []string{`no context "moon"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			step := preview(t, tt.change...)
			step.Vars = nil
			_, err := fails(t, x, step)
			e, ok := errors.AsType[*sdk.Error](err)
			if !ok {
				t.Fatalf("not an error for people: %v", err)
			}
			for _, s := range tt.says {
				if !strings.Contains(e.Msg, s) {
					t.Errorf("the message lacks %q:\n%s", s, e.Msg)
				}
			}
			if e.Retry {
				t.Errorf("trying again cannot help: %s", e.Msg)
			}
		})
	}
}

func TestAKubeconfigsContentNeverShows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte("apiVersion: v1\nkind: Config\nusers: [{name: x, user: {token: s3cr3t-t0ken}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	step := preview(t, func(s *sdk.Step) { s.Cluster.Kubeconfig = path })
	_, err := fails(t, New(Options{}), step)
	e := fault(t, err, sdk.FaultInvalid, "kubeconfig cannot be used")
	if strings.Contains(e.Error(), "s3cr3t") {
		t.Errorf("the token is in the error: %s", e.Error())
	}
}

// otherConfig writes a kubeconfig like the cluster's, altered.
func otherConfig(t *testing.T, change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo)) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	here := config.Contexts[config.CurrentContext]
	change(config.Clusters[here.Cluster], config.AuthInfos[here.AuthInfo])
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAClusterThatCannotBeReached(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	_ = closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() }) // after the parallel cases
	silentServer := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silentServer.Close)
	tests := map[string]struct {
		change func(*clientcmdapi.Cluster, *clientcmdapi.AuthInfo)
		says   string
		retry  bool
	}{
		"a server that never answers": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo) {
			*c = clientcmdapi.Cluster{Server: silentServer.URL, InsecureSkipTLSVerify: true}
		}, "no answer in time", true},
		"a closed port": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo) { c.Server = "https://" + address }, "refused", true},
		"a server that says nothing": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo) {
			c.Server = "https://" + mute.Addr().String()
		}, "no answer in time", true},
		"a certificate of someone else": {func(c *clientcmdapi.Cluster, _ *clientcmdapi.AuthInfo) {
			c.CertificateAuthority, c.CertificateAuthorityData = "", nil
		}, "certificate", false},
		"credentials that are wrong": {func(_ *clientcmdapi.Cluster, a *clientcmdapi.AuthInfo) {
			*a = clientcmdapi.AuthInfo{Token: "wrong-s3cr3t"}
		}, "does not accept Berth's credentials", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := New(Options{})
			step := preview(t, with("timeout", "10m"), func(s *sdk.Step) { s.Cluster.Kubeconfig, s.Cluster.Name = otherConfig(t, tt.change), "staging" })
			began := time.Now()
			_, err := fails(t, x, step)
			if d := time.Since(began); d > 3*time.Minute {
				t.Errorf("took %v to give up", d)
			}
			e := fault(t, err, sdk.FaultDownstream, `The cluster "staging" `, tt.says)
			if e.Retry != tt.retry {
				t.Errorf("retry is %v: %s", e.Retry, e.Msg)
			}
			if strings.Contains(e.Error(), "s3cr3t") {
				t.Errorf("the token shows: %s", e.Error())
			}
			seen, err := x.Observe(t.Context(), step)
			if err != nil || seen.Health != sdk.Unknown || !strings.Contains(seen.Text, tt.says) {
				t.Errorf("Observe says %+v, %v", seen, err)
			}
			if _, err := fails(t, x, verb(step, sdk.Cleanup)); err == nil {
				t.Error("what cannot be seen counts as gone")
			}
		})
	}
}

// limited is a kubeconfig of a service account with the rights that rules give
// it in namespace.
func limited(t *testing.T, namespace string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	cs := client(t)
	ctx := t.Context()
	if _, err := cs.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "limited"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "limited"}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "limited"},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "limited"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "limited", Namespace: namespace}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := cs.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "limited", &authv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return otherConfig(t, func(_ *clientcmdapi.Cluster, a *clientcmdapi.AuthInfo) {
		*a = clientcmdapi.AuthInfo{Token: token.Status.Token}
	})
}

func TestANamespaceWithoutPermission(t *testing.T) {
	t.Parallel()
	step := preview(t)
	makeNamespace(t, step.Namespace, nil)
	step.Cluster.Kubeconfig = limited(t, step.Namespace)
	_, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, "does not let Berth list secrets", step.Namespace, "Grant it the verb")
	if _, err := New(Options{}).Plan(t.Context(), step); err == nil {
		t.Error("the plan of what cannot be seen is no plan")
	} else {
		fault(t, err, sdk.FaultDownstream, "does not let Berth")
	}
	if _, err := fails(t, New(Options{}), verb(step, sdk.Cleanup)); err != nil {
		fault(t, err, sdk.FaultDownstream, "does not let Berth")
	}
}

func TestRightsThatEndAtDeployments(t *testing.T) {
	t.Parallel()
	step := preview(t)
	makeNamespace(t, step.Namespace, nil)
	step.Cluster.Kubeconfig = limited(t, step.Namespace, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"*"}})
	_, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, "deployments.apps", step.Namespace, "Grant")
}

func TestRightsInTheNamespaceAloneAreEnough(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t)
	makeNamespace(t, step.Namespace, nil)
	step.Cluster.Kubeconfig = limited(t, step.Namespace, rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
	run(t, x, step)
	run(t, x, verb(step, sdk.Cleanup))
}

func TestAnObjectOfSomeoneElse(t *testing.T) {
	t.Parallel()
	step := preview(t)
	makeNamespace(t, step.Namespace, nil)
	_, err := client(t).CoreV1().Services(step.Namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-pr-42-web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultDownstream, `Service "shop-pr-42-web" is already there`, "belongs to something else")
}

func TestCancellingEndsTheStepAndLeavesNothingPending(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := preview(t, podAnnotation("devcluster/fail", "NotReady"))
	ctx, cancel := context.WithCancel(t.Context())
	out := sdktest.NewRecorder()
	out.On = func(text string) {
		if strings.Contains(text, "0 of 1 pod ready") {
			cancel()
		}
	}
	if err := x.Run(ctx, step, out); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	s, err := client(t).CoreV1().Secrets(step.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil || len(s.Items) != 1 || s.Items[0].Labels["status"] != "failed" {
		t.Errorf("the record is not closed: %v %v", s.Items, err)
	}
	step.With["values"] = map[string]any{}
	run(t, x, step)
}

func TestSecretsOfTheStepAreNotInItsErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: tells\nversion: 1.0.0\n",
		"values.yaml":      "env: {}\ndb: {}\n",
		"templates/a.yaml": "{{ fail (printf \"cannot use %s and %s and %s\" .Values.db.password .Values.env.API_TOKEN .Values.db.apiKey) }}\n",
	})
	step := preview(t, with("chart", dir), with("values", map[string]any{"db": map[string]any{"password": "from-values"}}))
	step.Vars = map[string]string{"API_TOKEN": "from-vars"}
	step.Set = map[string]string{"db.apiKey": "from-set"}
	out, err := fails(t, New(Options{}), step)
	fault(t, err, sdk.FaultInvalid, "cannot use *** and *** and ***")
	for _, secret := range []string{"from-values", "from-vars", "from-set"} {
		if strings.Contains(err.Error()+out.Text(), secret) {
			t.Errorf("%s shows: %v", secret, err)
		}
	}
}

// write makes files in dir.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
