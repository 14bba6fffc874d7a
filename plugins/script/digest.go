package script

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// What a folder of scripts may hold; it is read whole for every plan.
const (
	maxFiles     = 10_000
	maxFileBytes = 256 << 20
)

// digest is a sum over the files below dir: their names, whether they can be
// run, where links point, and what is in them.
func digest(dir string) (string, error) {
	sum := sha256.New()
	files, size := 0, int64(0)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if files, size = files+1, size+info.Size(); files > maxFiles || size > maxFileBytes {
			return sdk.Invalid("`dir` holds more than %d files or %d MiB; name the folder that has the scripts alone.", maxFiles, maxFileBytes>>20)
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			fmt.Fprintf(sum, "link %d %s %d %s\n", len(rel), rel, len(to), to)
			return err
		case !info.Mode().IsRegular():
			return nil
		}
		fmt.Fprintf(sum, "file %d %s %t %d\n", len(rel), rel, info.Mode()&0o111 != 0, info.Size())
		return addFile(sum, path)
	})
	if err != nil {
		if _, ok := errors.AsType[*sdk.Error](err); ok {
			return "", err
		}
		return "", sdk.Invalid("The scripts in %s cannot be read; check that Berth may (%w).", clip(dir, 200), err)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func addFile(sum io.Writer, path string) error {
	f, err := os.Open(path) //nolint:gosec // The config names the folder or program; its sum is all that is told.
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(sum, f)
	return err
}

// inputs are the plan's inputs: what decides the result and is not in `with`.
func (j *job) inputs() (map[string]string, error) {
	in := map[string]string{}
	if j.set.Dir != "" {
		sum, err := digest(j.set.Dir)
		if err != nil {
			return nil, err
		}
		in["scripts"] = sum
	}
	name := string(j.step.Verb)
	if list := j.set.Programs[name]; list != nil {
		path, err := j.program(name, list[0].Text)
		if err != nil {
			return nil, err
		}
		if !inside(j.set.Dir, path) {
			sum := sha256.New()
			if err := addFile(sum, path); err != nil {
				return nil, sdk.Invalid("The program %s cannot be read (%w).", clip(path, 200), err)
			}
			in["program "+list[0].Text] = "sha256:" + hex.EncodeToString(sum.Sum(nil))
		}
	}
	return in, nil
}

func inside(dir, path string) bool {
	if dir == "" {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// program finds a program of the contract "run": an absolute path, a path in
// dir, or a name on the scripts' PATH.
func (j *job) program(name, file string) (string, error) {
	path := file
	switch {
	case filepath.IsAbs(file):
	case j.set.Dir != "" && isFile(filepath.Join(j.set.Dir, file)):
		path = filepath.Join(j.set.Dir, file)
		if !inside(j.set.Dir, path) {
			return "", sdk.Invalid("The program of `%s` leads out of `dir`; use one inside of it.", name)
		}
	case !strings.ContainsRune(file, '/'):
		path = ""
		for _, entry := range j.env {
			if list, ok := strings.CutPrefix(entry, "PATH="); ok {
				path = onPath(list, file)
			}
		}
	}
	switch err := runnable(path); {
	case path == "" || errors.Is(err, fs.ErrNotExist):
		return "", sdk.Invalid("`%s` names the program %q, which is neither in `dir` nor on the scripts' PATH.", name, clip(file, 100))
	case err != nil:
		return "", sdk.Invalid("`%s` names the program %q, which cannot be run: it is not an executable file. Run chmod +x on it, and commit that.", name, clip(file, 100))
	}
	return path, nil
}

func onPath(list, file string) string {
	for _, dir := range filepath.SplitList(list) {
		if path := filepath.Join(dir, file); filepath.IsAbs(dir) && runnable(path) == nil {
			return path
		}
	}
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return exec.ErrNotFound
	}
	return nil
}

// agreed checks that the scripts are those that were agreed on.
func (j *job) agreed() error {
	if len(j.step.Agreed) == 0 {
		return nil
	}
	now, err := j.inputs()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was, ok := j.step.Agreed[name]; ok && was != now[name] {
			return sdk.Invalid("The %s changed since this was agreed on; ask for it again.", clip(name, 100))
		}
	}
	return nil
}
