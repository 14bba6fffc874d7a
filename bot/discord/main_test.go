package discord

import (
	"os"
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
