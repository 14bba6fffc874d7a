// Command berth-aws is the executor for what an environment needs at AWS. Berth
// starts it; it is not meant to be run by hand.
package main

import (
	"os"

	"github.com/berth-dev/berth/plugins/aws"
	"github.com/berth-dev/berth/plugins/sdk"
)

func main() { sdk.Serve(aws.New(aws.Options{Log: sdk.Logger(), Getenv: os.Getenv})) }
