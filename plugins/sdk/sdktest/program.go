package sdktest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// helloPattern is the line by which a program says where it serves.
// Source: github.com/hashicorp/go-plugin, docs/internals.md.
var helloPattern = regexp.MustCompile(`^1\|1\|unix\|[^|]+\|grpc(\||$)`)

// endsWithHost starts the program as a host does that dies then.
func (b *bench) endsWithHost(t *testing.T) {
	if b.Command == nil {
		t.Skip("the executor is served in this process")
	}
	h := sdk.Handshake()
	cookie := h.MagicCookieKey + "=" + h.MagicCookieValue
	t.Run("when the pipe to it is closed", func(t *testing.T) {
		p := b.start(t, cookie, "PLUGIN_PROTOCOL_VERSIONS=1", sdk.EnvLifeline+"=stdin")
		p.hello(t)
		_ = p.stdin.Close()
		p.ends(t)
	})
	t.Run("when SIGTERM arrives", func(t *testing.T) {
		p := b.start(t, cookie, "PLUGIN_PROTOCOL_VERSIONS=1")
		p.hello(t)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		p.ends(t)
	})
	t.Run("when somebody starts it by hand", func(t *testing.T) {
		p := b.start(t)
		if err := p.ends(t); err == nil {
			t.Error("it ends as if all were well; the exit code should tell a script that nothing was done")
		}
		if p.said() == "" {
			t.Error("it says nothing; a person should read that Berth starts it")
		}
	})
}

// program is a start of the executor without go-plugin.
type program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr string // a file
	ended  chan error
	limit  time.Duration // of what is waited for
}

func (b *bench) start(t *testing.T, env ...string) *program {
	t.Helper()
	// Sockets need a shorter path than t.TempDir() is.
	dir, err := os.MkdirTemp("", "sdktest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stderr, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p := &program{cmd: exec.Command(b.Command[0], b.Command[1:]...), stderr: stderr.Name(), ended: make(chan error, 1), limit: 2 * b.CancelWithin}
	p.cmd.Env = b.environment(append(env, "TMPDIR="+dir, "PLUGIN_UNIX_SOCKET_DIR="+dir))
	p.cmd.Stderr = stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as Berth gives it; the SDK ends its whole group
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	return p
}

// hello waits for the program's side of the handshake, and is that line.
func (p *program) hello(t *testing.T) string {
	t.Helper()
	timer := time.AfterFunc(p.limit, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := p.stdout.ReadString('\n')
	if err != nil || !helloPattern.MatchString(strings.TrimSpace(line)) {
		t.Fatalf("its first line is %q (%v), and should be 1|1|unix|SOCKET|grpc|CERTIFICATE; on standard error it said: %s", line, err, p.said())
	}
	return strings.TrimSpace(line)
}

// ends waits for the end of the program and is how it ended.
func (p *program) ends(t *testing.T) error {
	t.Helper()
	go func() {
		_, _ = io.Copy(io.Discard, p.stdout)
		p.ended <- p.cmd.Wait()
	}()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(p.limit):
		t.Fatalf("it is still there after %s", p.limit)
		return nil
	}
}

// said is what the program wrote to standard error.
func (p *program) said() string {
	text, _ := os.ReadFile(p.stderr)
	return strings.TrimSpace(string(text))
}
