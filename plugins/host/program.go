package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// permanent is a failure to start that another try cannot mend: the operator
// has to do something. The program is tried again all the same, at long
// intervals, in case that is what happened.
type permanent struct {
	msg string // for people: what is wrong and what to do
	err error
}

func (p *permanent) Error() string {
	if p.err != nil {
		return p.msg + ": " + p.err.Error()
	}
	return p.msg
}

func (p *permanent) Unwrap() error { return p.err }

// locate finds the program's file. The error is permanent.
func (h *Host) locate(use string, spec Plugin) (string, error) {
	name := spec.Path
	if name == "" {
		name = "berth-" + use
	}
	if strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(h.o.Dir, name)
		}
		path, err := filepath.Abs(name)
		if err != nil {
			return "", &permanent{fmt.Sprintf("The path of executor %s cannot be read", use), err}
		}
		if err := runnable(path); err != nil {
			return "", &permanent{fmt.Sprintf("The program of executor %s, %s, cannot be run; check `path` under `plugins` in the config", use, spec.Path), err}
		}
		return path, nil
	}
	if h.o.BinDir != "" {
		path, err := filepath.Abs(filepath.Join(h.o.BinDir, name))
		if err == nil && runnable(path) == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &permanent{fmt.Sprintf("The program %s of executor %s is neither beside the berth program nor on PATH; install it, or set its path under `plugins` in the config", name, use), err}
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", &permanent{fmt.Sprintf("The path of executor %s cannot be read", use), err}
	}
	return path, nil
}

func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a folder")
	case info.Mode()&0o111 == 0:
		return errors.New("it is not executable")
	}
	return nil
}

// sums remembers the checksum of files that have not changed since, so that a
// restart does not read a large program again.
type sums struct {
	mu    sync.Mutex
	known map[string]fileSum
}

type fileSum struct {
	info os.FileInfo
	hex  string
}

// of is the SHA-256 of the file in hex. fresh reads it in any case.
func (s *sums) of(path string, fresh bool) (string, os.FileInfo, error) {
	f, err := os.Open(path) //nolint:gosec // The operator names the program.
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", nil, err
	}
	if !fresh {
		s.mu.Lock()
		known, ok := s.known[path]
		s.mu.Unlock()
		if ok && sameFile(known.info, info) {
			return known.hex, info, nil
		}
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", nil, err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]fileSum{}
	}
	s.known[path] = fileSum{info, sum}
	return sum, info, nil
}

// sameFile tells whether b is a, unchanged.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// baseEnv is what a program gets of the bot's environment without asking: where
// programs, its home and temporary files are, the time zone, the trusted
// certificates, and where the cluster is that the bot itself runs in (the
// in-cluster account cannot be used without). None of these is a secret. All
// else must be listed in Plugin.Env.
var baseEnv = []string{
	"PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
}

// environment is what the program is started with, and the values in it that
// must not be seen in a log.
func environment(allowed []string, lookup func(string) (string, bool)) (env, secrets []string) {
	for _, name := range baseEnv {
		if v, ok := lookup(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, entry := range allowed {
		name, v, literal := strings.Cut(entry, "=")
		if !literal {
			var ok bool
			if v, ok = lookup(name); !ok {
				continue
			}
		}
		env = append(env, name+"="+v)
		if secretName(name) && len(v) >= minSecret {
			secrets = append(secrets, v)
		}
	}
	return env, secrets
}

// minSecret is the length in bytes from which a value is worth masking; a
// shorter one would blot out harmless text.
const minSecret = 6

// secretName tells by a variable's name whether its value is a secret.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	for _, sign := range []string{"SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL", "AUTH"} {
		if strings.Contains(name, sign) {
			return true
		}
	}
	return false
}
