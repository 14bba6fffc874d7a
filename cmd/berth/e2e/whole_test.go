package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/dns/dnstest"
)

// canaries are secrets of each executor. None may be where people or Redis are.
var canaries = []string{awstest.Secret, "canary-of-kubernetes-93121", "canary-of-scripts-77431", "canary-of-variables-12055"}

// TestAnEnvironmentOfEveryExecutor takes an environment whose parts are of all
// executors through its life, each against the real thing or what stands in for
// it, and looks for secrets everywhere afterwards.
func TestAnEnvironmentOfEveryExecutor(t *testing.T) {
	w := newWorld(t)
	zone, cloud := dnstest.BIND(t, dnstest.Options{}), awstest.New(t, awstest.Options{Polls: 2})
	dir := t.TempDir()
	key, scripts := filepath.Join(dir, "tsig.key"), filepath.Join(dir, "scripts")
	must(t, os.WriteFile(key, []byte(zone.Secret+"\n"), 0o600))
	must(t, os.MkdirAll(scripts, 0o700))
	note := filepath.Join(dir, "note")
	must(t, os.WriteFile(filepath.Join(scripts, "up"), []byte("#!/bin/sh\nset -eu\necho \"the token is $TOKEN\"\necho \"$DATABASE\" > "+note+"\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(scripts, "down"), []byte("#!/bin/sh\nrm -f "+note+"\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(scripts, "there"), []byte("#!/bin/sh\ntest -f "+note+"\n"), 0o700))
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": awstest.Key, "AWS_SECRET_ACCESS_KEY": awstest.Secret, "E2E_KUBE_SECRET": canaries[1], "E2E_SCRIPT_TOKEN": canaries[2], "E2E_VARIABLE": canaries[3],
	} {
		t.Setenv(name, value)
	}
	w.rules = fmt.Sprintf(`secrets: {api-key: {env: E2E_VARIABLE}}
plugins:
  kubernetes: {env: [E2E_KUBE_SECRET, E2E_VARIABLE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY], settings: {aws: {endpoint: %q}}}
  helm: {env: [E2E_VARIABLE]}
  aws: {env: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY], settings: {region: eu-central-1, endpoint: %q, poll: 10ms}}
  script: {env: [E2E_SCRIPT_TOKEN, E2E_VARIABLE], settings: {data_dir: %q}}
  dns:
    settings:
      zones:
        %s: {apps: [%s], servers: [%q], provider: {rfc2136: {server: %q, key: {name: %q, algorithm: %q, secret: {file: %q}}}}}
`, cloud.URL, cloud.URL, filepath.Join(dir, "state"), zone.Zone(), w.app, zone.Address, zone.Address, zone.KeyName, zone.Algorithm, key)
	b := w.startBerth(everyPart(w.app, zone.Zone(), scripts))
	env := w.env()

	b.do("deploy " + env)
	w.madeEverywhere(zone, cloud, note)
	before, serial := cloud.Changes(), zone.Serial(t, zone.Zone())
	b.do("deploy " + env)
	if n := cloud.Changes() - before; n != 0 || zone.Serial(t, zone.Zone()) != serial {
		t.Errorf("a deploy of what is there makes %d changes at AWS, and the zone's serial %d of %d", n, zone.Serial(t, zone.Zone()), serial)
	}
	code, answer := b.ask("/api/v1/commands", "status "+env)
	if code != http.StatusOK || strings.Contains(fmt.Sprint(answer["text"]), "could not be seen") {
		t.Errorf("status says %d %v", code, answer["text"])
	}
	b.do("archive " + env)
	if lines := zone.Transfer(t, zone.Zone()); w.hasName(lines) {
		t.Errorf("an archived environment still has names:\n%s", strings.Join(lines, "\n"))
	}
	b.do("restore " + env)
	w.madeEverywhere(zone, cloud, note)
	b.do("cleanup " + env)
	if left := cloud.Owned(); len(left) > 0 {
		t.Errorf("AWS still has %q", left)
	}
	if lines := zone.Transfer(t, zone.Zone()); w.hasName(lines) {
		t.Errorf("the zone still has names:\n%s", strings.Join(lines, "\n"))
	}
	if _, err := w.client.CoreV1().Namespaces().Get(t.Context(), w.namespace(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
	if _, err := os.Stat(note); err == nil {
		t.Error("the script's note is still there")
	}
	if v := cloud.Violations(); len(v) > 0 {
		t.Errorf("AWS would have objected: %q", v)
	}
	w.lookForSecrets(b, append(slices.Clone(canaries), zone.Secret))
}

// everyPart is an app with a part of each executor.
func everyPart(app, zone, scripts string) string {
	return fmt.Sprintf(`  %s:
    repo: acme/shop
    cluster: e2e
    namespace: "{{ .App }}-{{ .Name }}"
    vars: {API_KEY: {secret: api-key}, LEVEL: debug}
    parts:
      - name: store
        use: aws
        with: {s3: {}, rds: {engine: postgres, class: db.t4g.micro, storage: 20}}
      - name: base
        use: kubernetes
        needs: [store]
        with:
          namespace: {quota: {pods: 50}, network: open}
          secrets:
            - {name: database, from: "{{ .Outputs.store.secret }}"}
            - {name: mine, data: {token: {env: E2E_KUBE_SECRET}}}
          manifests: |
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: settings}
            data: {database: "{{ .Outputs.store.address }}"}
      - {name: more, use: kubernetes, needs: [base], with: {manifests: repo:deploy/k8s}}
      - name: web
        use: helm
        needs: [base]
        with: {chart: repo:deploy/chart, values: {image: {repository: registry.example.org/acme/shop, tag: "{{ .SHA }}"}}}
      - name: url
        use: dns
        needs: [web]
        with: {zone: %s, name: "{{ .Name }}.shop", cname: ingress.example.org}
      - name: note
        use: script
        needs: [store]
        with:
          contract: run
          dir: %q
          env: {TOKEN: {env: E2E_SCRIPT_TOKEN}, DATABASE: "{{ .Outputs.store.address }}"}
          deploy: [./up]
          cleanup: [./down]
          check: [./there]
`, app, zone, scripts)
}

// madeEverywhere checks that all parts are there.
func (w *world) madeEverywhere(zone *dnstest.Server, cloud *awstest.Server, note string) {
	w.t.Helper()
	t := w.t
	if lines := zone.Transfer(t, zone.Zone()); !w.hasName(lines) {
		t.Errorf("the zone has\n%s", strings.Join(lines, "\n"))
	}
	if owned := cloud.Owned(); len(owned) < 2 {
		t.Errorf("AWS has %q", owned)
	}
	settings, err := w.client.CoreV1().ConfigMaps(w.namespace()).Get(t.Context(), "settings", metav1.GetOptions{})
	must(t, err)
	banner, err := w.client.CoreV1().ConfigMaps(w.namespace()).Get(t.Context(), "banner", metav1.GetOptions{})
	if err != nil || banner.Data["text"] != "from the repository" || banner.Labels["berth.dev/part"] != "more" {
		t.Errorf("the repository's manifest made %v, %v", banner, err)
	}
	address := settings.Data["database"]
	if !strings.Contains(address, "rds") {
		t.Errorf("the settings say that the database is at %q", address)
	}
	text, err := os.ReadFile(note)
	if err != nil || strings.TrimSpace(string(text)) != address {
		t.Errorf("the script wrote %q, %v", text, err)
	}
	if mine := w.secret("mine"); string(mine.Data["token"]) != canaries[1] {
		t.Error("the Secret has not the value that it refers to")
	}
	if database := w.secret("database"); len(database.Data["password"]) == 0 {
		t.Errorf("the database's Secret has %d keys, and no password", len(database.Data))
	}
}

func (w *world) secret(name string) *corev1.Secret {
	w.t.Helper()
	s, err := w.client.CoreV1().Secrets(w.namespace()).Get(w.t.Context(), name, metav1.GetOptions{})
	must(w.t, err)
	return s
}

func (w *world) hasName(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, fmt.Sprintf("pr-%d.shop.", w.pull)) })
}

// lookForSecrets reads all that Berth has said and kept.
func (w *world) lookForSecrets(b *berth, secrets []string) {
	t := w.t
	t.Helper()
	said := map[string]string{"the log": b.log.String()}
	for _, r := range b.requests() {
		id := fmt.Sprint(r["id"])
		for what, path := range map[string]string{
			"request " + id: "/api/v1/requests/" + id, "the run of " + id: "/api/v1/runs/" + fmt.Sprint(r["run_id"]),
			"the events of " + id: "/api/v1/runs/" + fmt.Sprint(r["run_id"]) + "/events?follow=false",
		} {
			_, said[what] = b.get(path)
		}
	}
	_, said["the environment"] = b.get("/api/v1/environments/" + w.env())
	_, said["the audit"] = b.get("/api/v1/audit?limit=1000")
	_, said["the metrics"] = b.get("/metrics")
	client := redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	defer client.Close()
	for key, text := range everything(t, client) {
		said["Redis, at "+key] = text
	}
	for _, secret := range secrets {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			for where, text := range said {
				if strings.Contains(text, form) {
					t.Errorf("a secret (%s…) is in %s", secret[:8], where)
				}
			}
		}
	}
	for _, note := range []string{"the token is ***"} {
		if !slices.ContainsFunc(slices.Collect(maps.Values(said)), func(text string) bool { return strings.Contains(text, note) }) {
			t.Errorf("the script's line %q is nowhere, so that nothing was looked at", note)
		}
	}
}

// everything is all that a Redis holds, by key. Logs are compressed there; what
// the API tells of them is looked at besides.
func everything(t testing.TB, client *redis.Client) map[string]string {
	t.Helper()
	ctx := context.Background()
	all := map[string]string{}
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		kind, err := client.Type(ctx, key).Result()
		must(t, err)
		var out bytes.Buffer
		switch kind {
		case "string":
			fmt.Fprint(&out, client.Get(ctx, key).Val())
		case "hash":
			fmt.Fprint(&out, client.HGetAll(ctx, key).Val())
		case "list":
			fmt.Fprint(&out, client.LRange(ctx, key, 0, -1).Val())
		case "set":
			fmt.Fprint(&out, client.SMembers(ctx, key).Val())
		case "zset":
			fmt.Fprint(&out, client.ZRange(ctx, key, 0, -1).Val())
		case "stream":
			fmt.Fprint(&out, client.XRange(ctx, key, "-", "+").Val())
		}
		all[key] = out.String()
	}
	must(t, keys.Err())
	return all
}
