package actions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// tree is a repository of an app at a commit, fetched when the first path in it
// is asked for and kept until close.
type tree struct {
	sources Sources
	app     string // for messages
	repo    string
	commit  Commit

	mu      sync.Mutex
	dir     string
	release func()
}

// path is the absolute path of a file or folder of the repository. What it
// leads to is inside of the repository, whatever symbolic links are on the way
// or below it.
func (t *tree) path(ctx context.Context, path string) (string, error) {
	const op = "source.path"
	dir, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	clean := filepath.Clean(filepath.FromSlash(path))
	if !filepath.IsLocal(clean) {
		return "", Errorf(op, CodeInvalid, "The path %q leads out of %s; use one inside of it.", clip(path), t.repo)
	}
	whole := filepath.Join(dir, clean)
	resolved, err := filepath.EvalSymlinks(whole)
	if errors.Is(err, fs.ErrNotExist) {
		return "", Errorf(op, CodeInvalid, "%s at %s has no %s; check the path, or push it.", t.repo, shortSHA(t.commit.SHA), clip(filepath.ToSlash(clean)))
	}
	if err != nil {
		return "", Wrap(op, CodeInvalid, err, fmt.Sprintf("%s of %s at %s cannot be read.", clip(filepath.ToSlash(clean)), t.repo, shortSHA(t.commit.SHA)))
	}
	if !inside(dir, resolved) {
		return "", Errorf(op, CodeInvalid, "The path %q leads out of %s through a symbolic link; use one inside of it.", clip(path), t.repo)
	}
	if bad := leadsOut(dir, resolved); bad != "" {
		return "", Errorf(op, CodeInvalid, "The symbolic link %s leads out of %s; remove it.", clip(filepath.ToSlash(bad)), t.repo)
	}
	return resolved, nil
}

func (t *tree) fetch(ctx context.Context) (string, error) {
	const op = "source.fetch"
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.dir != "":
		return t.dir, nil
	case t.repo == "":
		return "", Errorf(op, CodeInvalid, "%s uses a path in its repository (repo:…), but has none; set repo in its configuration.", t.app)
	case t.sources == nil:
		return "", Errorf(op, CodeInvalid, "%s uses a path in its repository (repo:…), but Berth has no access to repositories; configure github.", t.app)
	case t.commit.SHA == "":
		return "", Errorf(op, CodeInvalid, "%s uses a path in its repository (repo:…), but no commit is known; name one with --ref.", t.app)
	}
	dir, release, err := t.sources.Fetch(ctx, t.repo, t.commit.SHA)
	if err != nil {
		return "", typed(op, CodeUnavailable, err, fmt.Sprintf("%s at %s could not be fetched.", t.repo, shortSHA(t.commit.SHA)))
	}
	root, err := filepath.EvalSymlinks(dir)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		release()
		return "", Wrap(op, CodeInternal, err, "A fetched repository cannot be read.")
	}
	t.dir, t.release = root, release
	return root, nil
}

// close gives the fetched folder back.
func (t *tree) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.release != nil {
		t.release()
		t.dir, t.release = "", nil
	}
}

func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// leadsOut finds a symbolic link at or below path that leads out of dir.
func leadsOut(dir, path string) string {
	bad := ""
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return nil
		}
		resolved, err := filepath.EvalSymlinks(at)
		if err != nil { // it leads nowhere yet; judge by what it says
			target, errRead := os.Readlink(at)
			if errRead == nil && filepath.IsAbs(target) {
				resolved = target
			} else {
				resolved = filepath.Join(filepath.Dir(at), target)
			}
		}
		if !inside(dir, resolved) {
			bad, _ = filepath.Rel(dir, at)
			return fs.SkipAll
		}
		return nil
	})
	return bad
}

// shortSHA is how people write a commit.
func shortSHA(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}

// typed is err if it already says what kind of failure it is; else it is wrapped.
func typed(op string, code Code, err error, msg string) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return Wrap(op, CodeCancelled, err, "It was stopped.")
	}
	e := Wrap(op, code, err, msg)
	e.Retry = code == CodeUnavailable
	return e
}
