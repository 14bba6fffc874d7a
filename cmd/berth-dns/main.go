// Command berth-dns is the executor that manages DNS records and certificates.
// Berth starts it; it is not meant to be run by hand.
package main

import (
	"os"

	"github.com/berth-dev/berth/plugins/dns"
	"github.com/berth-dev/berth/plugins/sdk"
)

func main() { sdk.Serve(dns.New(dns.Options{Log: sdk.Logger(), Getenv: os.Getenv})) }
