// Command berth-kubernetes is the executor that applies Kubernetes manifests.
// Berth starts it; it is not meant to be run by hand.
package main

import (
	"os"

	"github.com/berth-dev/berth/plugins/kubernetes"
	"github.com/berth-dev/berth/plugins/sdk"
)

func main() { sdk.Serve(kubernetes.New(kubernetes.Options{Log: sdk.Logger(), Getenv: os.Getenv})) }
