// Command berth-helm is the executor that deploys Helm charts. Berth starts it;
// it is not meant to be run by hand.
package main

import (
	"os"

	"github.com/berth-dev/berth/plugins/helm"
	"github.com/berth-dev/berth/plugins/sdk"
)

func main() { sdk.Serve(helm.New(helm.Options{Log: sdk.Logger(), Getenv: os.Getenv})) }
