package clustertest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/clustertest"
)

func TestMain(m *testing.M) { os.Exit(clustertest.Main(m)) }

func TestAClusterIsThereForWhoeverAsks(t *testing.T) {
	data, err := os.ReadFile(clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "server: https://127.0.0.1:") {
		t.Errorf("the cluster is not on loopback:\n%s", data)
	}
}
