package api_test

import (
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/bottest"
)

// BenchmarkNew is what the API adds to Berth's start.
func BenchmarkNew(b *testing.B) {
	w := bottest.New(b, redistest.Client(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := api.New(api.Options{Service: w.Service}); err != nil {
			b.Fatal(err)
		}
	}
}
