package actions_test

import (
	"os"
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(workerVariable) != "" { // the process that TestKillNine kills could not clean up after a server of its own
		os.Exit(m.Run())
	}
	os.Exit(redistest.Main(m))
}
