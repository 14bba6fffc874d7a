package helm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-dev/berth/plugins/sdk"
)

// stepVariable makes this test binary one that does a single step and tells on
// its standard output what happens.
const stepVariable = "BERTH_TEST_RUN_STEP"

func init() {
	if os.Getenv(stepVariable) == "" {
		return
	}
	var step sdk.Step
	if err := json.NewDecoder(os.Stdin).Decode(&step); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	if err := New(Options{}).Run(context.Background(), step, printer{}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

type printer struct{}

func (printer) Log(line string)                { fmt.Println(line) }
func (printer) Progress(text string, _, _ int) { fmt.Println(text) }
func (printer) Receipt(r sdk.Resource)         { fmt.Println("deleted", r.Kind, r.Name) }
func (printer) Output(key, value string)       { fmt.Println(key, value) }

// helperProcess does step in a process of its own.
func helperProcess(t *testing.T, step sdk.Step) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stepVariable+"=1")
	cmd.Stdin, cmd.Stderr = marshal(t, step), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func quantity(s string) resource.Quantity { return resource.MustParse(s) }
