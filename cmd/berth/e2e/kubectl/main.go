// Command kubectl is Kubernetes' own command line, of the version that Berth is
// built with: what the benchmarks compare Berth with.
package main

import (
	"os"

	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	if cmd.NewDefaultKubectlCommand().Execute() != nil {
		os.Exit(1)
	}
}
