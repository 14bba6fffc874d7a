package kube

import (
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		object string
		want   State
		text   string
	}{
		"a Deployment whose controller has not seen it": {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}", Waiting, "0 of 1 pod ready"},
		"a Deployment in order":                         {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}", Ready, ""},
		"a Deployment with an old pod":                  {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 2}, spec: {replicas: 1}, status: {observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2}}", Waiting, "1 pod of the version before"},
		"a Deployment without pods":                     {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}", Ready, ""},
		"a Deployment that gave up":                     {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}", Failed, "no progress"},
		"a Deployment whose pods are refused":           {"{apiVersion: apps/v1, kind: Deployment, metadata: {generation: 1}, spec: {replicas: 1}, status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', message: exceeded quota}]}}", Waiting, "exceeded quota"},
		"a paused Deployment":                           {"{apiVersion: apps/v1, kind: Deployment, spec: {paused: true}}", Ready, ""},
		"a StatefulSet in mid-update":                   {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: b}}", Waiting, "2 of 2"},
		"a StatefulSet in order":                        {"{apiVersion: apps/v1, kind: StatefulSet, metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 2, currentRevision: b, updateRevision: b}}", Ready, ""},
		"a DaemonSet with one node down":                {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2}}", Ready, ""},
		"a DaemonSet that has begun":                    {"{apiVersion: apps/v1, kind: DaemonSet, metadata: {generation: 1}, status: {observedGeneration: 1, desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 1}}", Waiting, "1 of 3"},
		"a Job that runs":                               {"{apiVersion: batch/v1, kind: Job, status: {active: 1}}", Waiting, "0 of 1 done"},
		"a Job that ended":                              {"{apiVersion: batch/v1, kind: Job, status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}", Ready, ""},
		"a Job that failed":                             {"{apiVersion: batch/v1, kind: Job, status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded}]}}", Failed, "BackoffLimitExceeded"},
		"a Service without an address":                  {"{apiVersion: v1, kind: Service, spec: {type: LoadBalancer}}", Waiting, "no address"},
		"a Service inside":                              {"{apiVersion: v1, kind: Service, spec: {type: ClusterIP}}", Ready, ""},
		"a claim that lost its volume":                  {"{apiVersion: v1, kind: PersistentVolumeClaim, status: {phase: Lost}}", Failed, "lost"},
		"something on its way out":                      {"{apiVersion: v1, kind: ConfigMap, metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}", Waiting, "being deleted"},
		"a kind of one's own":                           {"{apiVersion: example.org/v1, kind: Gizmo}", Ready, ""},
		"a status of wrong types":                       {"{apiVersion: apps/v1, kind: Deployment, spec: {replicas: x}, status: nope}", Waiting, "0 of 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Look(parse(t, tt.object)); got.State != tt.want || tt.want != Ready && !strings.Contains(got.Text, tt.text) {
				t.Errorf("got %+v", got)
			}
		})
	}
}
