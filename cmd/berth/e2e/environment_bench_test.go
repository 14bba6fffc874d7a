package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
)

// BenchmarkEnvironment compares the whole life of an environment with what shell
// scripts make of the same: a namespace with its limits, 20 manifests, a Helm
// release and three records of DNS; deployed, deployed again with nothing changed,
// and cleaned up. It also reports what each executor's process takes of memory
// when nothing is to be done. It needs the paths of Helm and kubectl in HELM and
// KUBECTL.
func BenchmarkEnvironment(b *testing.B) {
	helm, kubectl := os.Getenv("HELM"), os.Getenv("KUBECTL")
	if helm == "" || kubectl == "" {
		b.Skip("HELM and KUBECTL do not name the programs; make bench builds them")
	}
	w := newWorld(b)
	server := dnstest.BIND(b, dnstest.Options{})
	key := filepath.Join(b.TempDir(), "tsig.key")
	must(b, os.WriteFile(key, []byte(server.Secret+"\n"), 0o600))
	w.rules = fmt.Sprintf(`plugins:
  aws: {settings: {region: eu-central-1}}
  dns:
    settings:
      zones:
        %s: {apps: ["*"], servers: [%q], provider: {rfc2136: {server: %q, key: {name: %q, algorithm: %q, secret: {file: %q}}}}}
`, server.Zone(), server.Address, server.Address, server.KeyName, server.Algorithm, key)
	replica := w.startBerth(wholeApp(w.app, server.Zone()))
	time.Sleep(2 * time.Second) // the work of starting is over
	idle := replica.executorsMB()
	s := newScripts(w, server, helm, kubectl)
	took := map[string]time.Duration{}
	measure := func(what string, do func()) {
		began := time.Now()
		do()
		took[what] += time.Since(began)
	}
	for n := 0; b.Loop(); n++ {
		name := fmt.Sprintf("b%d-%d", n, time.Now().Unix()%10000)
		env := w.app + "/" + name
		measure("deploy/berth", func() { replica.deployAndWait(env) })
		measure("again/berth", func() { replica.deployAndWait(env) })
		measure("cleanup/berth", func() { replica.commandAndWait("cleanup " + env) })
		measure("deploy/scripts", func() { s.run("deploy", name) })
		measure("again/scripts", func() { s.run("deploy", name) })
		measure("cleanup/scripts", func() { s.run("cleanup", name) })
	}
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	for _, what := range slices.Sorted(maps.Keys(took)) {
		b.ReportMetric(float64(took[what].Milliseconds())/float64(b.N), "ms-"+what)
	}
	for _, what := range []string{"deploy", "again", "cleanup"} {
		b.ReportMetric(float64(took[what+"/berth"])/float64(took[what+"/scripts"]), what+":berth/scripts")
	}
	for name, mb := range idle {
		b.ReportMetric(mb, "MB-idle-"+name)
	}
}

// wholeApp is an app with a part of three executors, and one that nobody deploys,
// for the others to be started.
func wholeApp(app, zone string) string {
	return fmt.Sprintf(`  %s:
    repo: acme/shop
    cluster: e2e
    namespace: "{{ .App }}-{{ .Name }}"
    parts:
      - name: base
        use: kubernetes
        with:
          namespace:
            quota: {pods: 50, requests.cpu: 20}
            limits: {default: {cpu: 500m, memory: 256Mi}, default_request: {cpu: 50m, memory: 64Mi}}
            network: open
          manifests: |
%s
      - name: web
        use: helm
        needs: [base]
        with:
          chart: repo:deploy/chart
          values:
            image: {repository: registry.example.org/acme/shop, tag: "{{ .SHA }}"}
      - name: url
        use: dns
        with:
          zone: %s
          records:
            - {name: "{{ .Name }}", type: A, values: 192.0.2.1}
            - {name: "api.{{ .Name }}", type: A, values: 192.0.2.2}
            - {name: "www.{{ .Name }}", type: CNAME, values: "{{ .Name }}.%s"}
  idle:
    parts:
      - {name: store, use: aws, with: {s3: {}}}
      - {name: note, use: script, with: {contract: run, deploy: [/bin/true]}}
`, app, indent(manifests(), 12), zone, zone)
}

// manifests are twenty: what a small system has beside its chart.
func manifests() string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for i := range 10 {
		add("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-%d}\ndata: {level: debug, index: \"%d\"}", i, i)
	}
	for i := range 5 {
		add("apiVersion: v1\nkind: Service\nmetadata: {name: api-%d}\nspec: {selector: {app: api-%d}, ports: [{name: http, port: 80, targetPort: 8080}]}", i, i)
		add(`apiVersion: apps/v1
kind: Deployment
metadata: {name: api-%d}
spec:
  replicas: 1
  selector: {matchLabels: {app: api-%d}}
  template:
    metadata: {labels: {app: api-%d}}
    spec: {containers: [{name: app, image: "registry.example.org/acme/api:%d"}]}`, i, i, i, i)
	}
	return strings.Join(all, "\n---\n") + "\n"
}

func indent(text string, by int) string {
	pad := strings.Repeat(" ", by)
	return pad + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+pad)
}

// scripts are what a team without Berth would write.
type scripts struct {
	w   *world
	dir string
	env []string
}

func newScripts(w *world, server *dnstest.Server, helm, kubectl string) *scripts {
	dir := w.t.TempDir()
	host, port, _ := strings.Cut(server.Address, ":")
	chart, err := filepath.Abs("../../../charts/preview")
	must(w.t, err)
	for name, text := range map[string]string{
		"manifests.yaml": manifests(),
		"limits.yaml": `apiVersion: v1
kind: ResourceQuota
metadata: {name: limits}
spec: {hard: {pods: 50, requests.cpu: 20}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec: {limits: [{type: Container, default: {cpu: 500m, memory: 256Mi}, defaultRequest: {cpu: 50m, memory: 64Mi}}]}
`,
		"deploy": `set -eu
ns="$PREFIX-$1"
"$KUBECTL" create namespace "$ns" --dry-run=client -o yaml | "$KUBECTL" apply -f -
"$KUBECTL" -n "$ns" apply -f limits.yaml -f manifests.yaml
"$HELM" upgrade --install --wait web "$CHART" --namespace "$ns" --set image.repository=registry.example.org/acme/shop --set-string image.tag=1
for d in 0 1 2 3 4; do "$KUBECTL" -n "$ns" rollout status deployment "api-$d" --timeout 60s; done
nsupdate -y "$TSIG" <<END
server $DNS_HOST $DNS_PORT
zone $ZONE
update delete s$1.$ZONE A
update add s$1.$ZONE 60 A 192.0.2.1
update delete api.s$1.$ZONE A
update add api.s$1.$ZONE 60 A 192.0.2.2
update delete www.s$1.$ZONE CNAME
update add www.s$1.$ZONE 60 CNAME s$1.$ZONE.
send
END
`,
		"cleanup": `set -eu
ns="$PREFIX-$1"
nsupdate -y "$TSIG" <<END
server $DNS_HOST $DNS_PORT
zone $ZONE
update delete s$1.$ZONE
update delete api.s$1.$ZONE
update delete www.s$1.$ZONE
send
END
"$HELM" uninstall --wait web --namespace "$ns"
"$KUBECTL" -n "$ns" delete -f manifests.yaml -f limits.yaml
"$KUBECTL" delete namespace "$ns" --wait
`,
	} {
		must(w.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return &scripts{w: w, dir: dir, env: append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "HELM="+helm, "KUBECTL="+kubectl, "CHART="+chart, "PREFIX="+w.app+"-scripts",
		"TSIG="+server.Algorithm+":"+server.KeyName+":"+server.Secret, "DNS_HOST="+host, "DNS_PORT="+port, "ZONE="+strings.TrimSuffix(server.Zone(), "."))}
}

func (s *scripts) run(script, name string) {
	cmd := exec.CommandContext(s.w.t.Context(), "sh", script, name)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.w.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// executorsMB is the resident memory of each executor that the replica has
// started, in megabytes (2^20 bytes), by name.
func (b *berth) executorsMB() map[string]float64 {
	found := map[string]float64{}
	for _, pid := range family(b.cmd.Process.Pid)[1:] {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if name, ok := strings.CutPrefix(filepath.Base(exe), "berth-"); ok && err == nil {
			found[name] = residentMB(b.w.t, pid)
		}
	}
	return found
}
