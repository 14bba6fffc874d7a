package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/plugins/host"
)

// inspectors is a host of executors that look at what they need, by name.
type inspectors map[string]inspect

type inspect func(cluster, namespace string) ([]actions.Finding, error)

func (i inspectors) Checks(context.Context) []host.Status { return nil }
func (i inspectors) Executor(_ context.Context, use string) (actions.Executor, error) {
	if use == "missing" {
		return nil, actions.Errorf("x", actions.CodeNotFound, "There is no such executor.")
	}
	return inspector{check: i[use]}, nil
}

type inspector struct {
	actions.Executor
	check inspect
}

func (i inspector) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Checks: i.check != nil}, nil
}

func (i inspector) Check(_ context.Context, cluster actions.Cluster, namespace, _ string) ([]actions.Finding, error) {
	return i.check(cluster.Name, namespace)
}

func TestDoctorHasExecutorsLookAtTheirRights(t *testing.T) {
	role := "kind: Role\nrules:\n- verbs: [get]\n"
	h := inspectors{
		"kubernetes": func(cluster, namespace string) ([]actions.Finding, error) {
			return []actions.Finding{
				{Name: "cluster", OK: true, Detail: "answers"},
				{Name: "rights in " + namespace, OK: cluster != "eu", Detail: "seen", Fix: "apply it", Paste: role},
			}, nil
		},
		"aws": func(string, string) ([]actions.Finding, error) {
			return []actions.Finding{{Name: "account", OK: true, Detail: "it acts as x"}}, nil
		},
		"blind": func(string, string) ([]actions.Finding, error) {
			return nil, actions.Errorf("x", actions.CodeDownstream, "The cluster does not answer.")
		},
		"helm": nil,
	}
	staging, eu := actions.Cluster{Name: "staging"}, actions.Cluster{Name: "eu"}
	parts := func(uses ...string) (all []actions.Part) {
		for _, use := range uses {
			all = append(all, actions.Part{Name: use, Use: use})
		}
		return all
	}
	c := checkup{host: h, log: slog.New(slog.DiscardHandler), apps: catalogOf(
		&actions.App{Name: "shop", Cluster: staging, Clusters: []actions.Cluster{staging, eu}, Parts: parts("kubernetes", "aws", "helm", "missing"), Namespace: "x-{{ .Name }}"},
		&actions.App{Name: "web", Cluster: staging, Parts: parts("kubernetes", "blind"), Namespace: "{{ .PR }}"},
	)}
	got := c.permits(t.Context())
	want := []bot.Check{
		{Name: "kubernetes: cluster", OK: true, Detail: "answers"},
		{Name: "kubernetes: rights in x-berth-probe (staging)", OK: true, Detail: "seen", Fix: "apply it", Paste: role},
		{Name: "aws: account", OK: true, Detail: "it acts as x"},
		{Name: "kubernetes: rights in x-berth-probe (eu)", Detail: "seen", Fix: "apply it", Paste: role},
		{Name: "blind", Detail: "The cluster does not answer.", Fix: "What it works on has to answer before more can be said."},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

func TestWhatIsToBePastedIsPrintedAsItIs(t *testing.T) {
	checks := []bot.Check{{Name: "kubernetes: rights", Detail: "it lacks some", Fix: "apply it", Paste: "kind: Role\nrules:\n- verbs: [get]\x1b[31m\n  resources: [pods]\n"}}
	run := func(args ...string) string {
		cmd := &cobra.Command{Use: "doctor", SilenceUsage: true, SilenceErrors: true, RunE: func(cmd *cobra.Command, _ []string) error { return report(cmd, checks) }}
		withOutput(cmd)
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(args)
		if err := cmd.Execute(); err == nil {
			t.Error("what is bad is no failure")
		}
		return out.String()
	}
	if got, want := run(), "       kind: Role\n       rules:\n       - verbs: [get]\n         resources: [pods]\n"; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "BAD kubernetes: rights") {
		t.Errorf("got\n%s", got)
	}
	var told []bot.Check
	if err := json.Unmarshal([]byte(run("-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != checks[0] {
		t.Errorf("as JSON it is %+v", told)
	}
}
