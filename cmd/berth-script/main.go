// Command berth-script is the executor that runs a team's own scripts. Berth
// starts it; it is not meant to be run by hand.
package main

import (
	"os"

	"github.com/berth-dev/berth/plugins/script"
	"github.com/berth-dev/berth/plugins/sdk"
)

func main() {
	script.Keep() // this program is also what looks after each script
	sdk.Serve(script.New(script.Options{Log: sdk.Logger(), Getenv: os.Getenv}))
}
