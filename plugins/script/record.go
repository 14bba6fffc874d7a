package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// phase is how far a part has come, as the executor remembers it. It is written
// before a script begins and after it has succeeded, so that whatever a crash
// leaves is one of these.
type phase string

const (
	phaseNone      phase = ""          // nothing is remembered
	phaseCreating  phase = "creating"  // create has begun and never succeeded
	phaseCreated   phase = "created"   // create has succeeded once
	phaseArchiving phase = "archiving" // archive has begun
	phaseArchived  phase = "archived"
	phaseRestoring phase = "restoring" // unarchive has begun
	phaseCleaning  phase = "cleaning"
	phaseCleaned   phase = "cleaned"
)

// record is what the executor remembers of a part, in a file of its own. It
// holds no secret: configs that are secrets are kept as references.
type record struct {
	Phase    phase             `json:"phase"`
	Finished string            `json:"finished,omitempty"` // ID of the last step that succeeded
	Tag      string            `json:"tag,omitempty"`
	App      []config          `json:"app,omitempty"` // full configs of the last create, update or unarchive
	Deploy   []config          `json:"deployment,omitempty"`
	Links    []sdk.Link        `json:"links,omitempty"`
	Outputs  map[string]string `json:"outputs,omitempty"`
	At       time.Time         `json:"at"`
}

// keptCleaned is how long it is remembered that a part was cleaned up.
const keptCleaned = 14 * 24 * time.Hour

// place is where a part's files are.
type place struct{ data, base string }

func placeOf(dataDir string, step sdk.Step) place {
	segment := func(s string) string {
		if s == "" {
			return "-"
		}
		return "_" + url.PathEscape(s) // never "." or ".."
	}
	return place{dataDir, filepath.Join(dataDir, "parts", segment(step.Installation), segment(step.App), segment(step.Env), segment(step.Part))}
}

// unusable says that the data folder cannot be used, which the operator has to
// mend.
func unusable(dir string, err error) error {
	return sdk.Invalid("The script executor cannot write its folder %s; set plugins.script.settings.data_dir to one that it can (%w).", clip(dir, 200), err)
}

func (p place) make() error {
	if err := os.MkdirAll(filepath.Dir(p.base), 0o700); err != nil {
		return unusable(p.data, err)
	}
	return nil
}

// lock keeps every other try of a step of this part away, in this process, in
// another one, and in what a process that was killed has left running: the keeper
// of a script holds the same lock until nothing of the script is left.
func (p place) lock(ctx context.Context, wait func()) (*os.File, error) {
	if err := p.make(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.base+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable(p.data, err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			_ = f.Close()
			return nil, unusable(p.data, fmt.Errorf("lock: %w", err))
		case !told:
			told = true
			wait()
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// load reads what is remembered; the zero record when there is nothing.
func (p place) load() (record, error) {
	var r record
	data, err := os.ReadFile(p.base + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, sdk.Internal("What the script executor remembers of this part cannot be read (%s.json). Mend or remove that file; without it, the `check` script decides what is there (%w).", clip(p.base, 300), err)
	}
	return r, nil
}

// save replaces what is remembered, so that a crash leaves the old or the new.
func (p place) save(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return sdk.Internal("What the script executor remembers of this part cannot be written (%w).", err)
	}
	if err := p.make(); err != nil {
		return err
	}
	if err := replace(p.base+".json", data); err != nil {
		return unusable(p.data, err)
	}
	return nil
}

func replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// forgetOld removes records of parts that were cleaned up long ago.
func (p place) forgetOld(now time.Time) {
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(p.base)), "*", "*.json"))
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || now.Sub(info.ModTime()) < keptCleaned {
			continue
		}
		var r record
		if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &r) == nil && r.Phase == phaseCleaned { //nolint:gosec // It was found in the executor's own folder.
			_ = os.Remove(file)
		}
	}
}

// workDir makes a folder for one run that nobody else can read. What an earlier
// run of the same name could not remove goes first: the caller holds the lock.
func (p place) workDir(name string, alone bool) (string, error) {
	root := filepath.Join(p.data, "work")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", unusable(p.data, err)
	}
	if alone {
		old, _ := filepath.Glob(filepath.Join(root, name+"-*"))
		for _, dir := range old {
			removeAll(dir)
		}
	}
	// Those of calls without a lock go by their age, should a crash leave them.
	asked, _ := filepath.Glob(filepath.Join(root, "ask-*"))
	for _, dir := range asked {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			removeAll(dir)
		}
	}
	dir, err := os.MkdirTemp(root, name+"-*")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
	}
	if err != nil {
		return "", unusable(p.data, err)
	}
	return dir, nil
}

// removeAll removes a folder, also when a script has made parts of it read-only.
func removeAll(dir string) {
	if dir == "" || os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // It is about to be removed, by its owner.
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
