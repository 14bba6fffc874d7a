// Package archive unpacks what GitHub hands out as the archive of a commit, and
// keeps the folders for whoever wants the same commit next. What is in an
// archive is written by whoever can push to a repository, so nothing in it is
// believed.
package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Limits are the most that an archive may hold. Zero values mean the defaults.
type Limits struct {
	Compressed int64 // bytes as downloaded; default 100 MiB
	Unpacked   int64 // bytes of all files together; default 500 MiB
	File       int64 // bytes of one file; default 100 MiB, which is what GitHub takes
	Files      int   // files, folders and links; default 50,000
	Path       int   // bytes of a path; default 1,024
	Depth      int   // folders above a file; default 64
}

func (l Limits) withDefaults() Limits {
	fill := func(v *int64, otherwise int64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	fillInt := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	fill(&l.Compressed, 100<<20)
	fill(&l.Unpacked, 500<<20)
	fill(&l.File, 100<<20)
	fillInt(&l.Files, 50_000)
	fillInt(&l.Path, 1024)
	fillInt(&l.Depth, 64)
	return l
}

// Error says what is wrong with an archive, in words that can be shown.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

func bad(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Result is what an archive held.
type Result struct {
	Bytes  int64    // of all files
	Files  int      // files, folders and links
	Commit string   // that git says it is of; "" when the archive does not say
	Left   []string // links that lead out of the archive or nowhere, which were left out
}

// Unpack reads a tar.gz from r into dir, which must exist and be empty, without
// the one folder that everything in it lies in. Files are readable by all and
// writable by none. Nothing is ever written outside dir, and what is inside
// never leads outside. A fault of the archive is an *Error.
func Unpack(r io.Reader, dir string, limits Limits) (Result, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = root.Close() }() // it was read and written through other handles
	u := &unpacker{root: root, limits: limits.withDefaults(), dirs: map[string]bool{".": true}}
	if err := u.all(r); err != nil {
		return Result{}, err
	}
	if err := u.linkAll(); err != nil {
		return Result{}, err
	}
	return u.result, u.sealAll()
}

type unpacker struct {
	root   *os.Root
	limits Limits
	top    string          // the folder that everything lies in
	dirs   map[string]bool // that were made
	links  []link
	result Result
}

type link struct{ name, target string }

// counted reads at most left bytes, and then fails instead of ending.
type counted struct {
	r    io.Reader
	left int64
	err  error
}

func (c *counted) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, c.err
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

func (u *unpacker) all(r io.Reader) error {
	small := &counted{r: r, left: u.limits.Compressed + 1, err: bad("it is larger than %s", size(u.limits.Compressed))}
	unzipped, err := gzip.NewReader(small)
	if err != nil {
		return fault(err)
	}
	// Headers and padding are not files' bytes, but a flood of them is no better.
	plain := &counted{r: unzipped, left: u.limits.Unpacked + int64(u.limits.Files)*4096, err: bad("it unpacks to more than %s", size(u.limits.Unpacked))}
	in := tar.NewReader(plain)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault(err)
		}
		if err := u.entry(h, in); err != nil {
			return err
		}
	}
}

// fault tells what the archive did wrong from what the network or disk did.
func fault(err error) error {
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrInsecurePath):
		return bad("it is no tar.gz that can be read")
	default:
		return err
	}
}

func (u *unpacker) entry(h *tar.Header, in io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		if id := h.PAXRecords["comment"]; id != "" { // git archive writes the commit there
			u.result.Commit = id
		}
		return nil
	}
	name, err := u.name(h.Name)
	if err != nil || name == "." {
		return err
	}
	if u.result.Files++; u.result.Files > u.limits.Files {
		return bad("it holds more than %d files", u.limits.Files)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.mkdir(name)
	case tar.TypeReg:
		return u.file(name, h, in)
	case tar.TypeSymlink:
		u.links = append(u.links, link{name, h.Linkname})
		return nil
	default:
		return bad("it holds %q, which is neither a file, a folder nor a symbolic link", clip(name))
	}
}

// name is where an entry belongs, without the top folder; "." is that folder.
func (u *unpacker) name(raw string) (string, error) {
	if len(raw) > u.limits.Path {
		return "", bad("it holds a path of more than %d bytes", u.limits.Path)
	}
	name := strings.TrimSuffix(raw, "/")
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return "", bad("it holds the path %q, which may lead out of it", clip(raw))
	}
	top, rest, _ := strings.Cut(name, "/")
	if u.top == "" {
		u.top = top
	}
	if top != u.top {
		return "", bad("it holds %q beside its folder %q", clip(top), clip(u.top))
	}
	if rest == "" {
		return ".", nil
	}
	if strings.Count(rest, "/") > u.limits.Depth {
		return "", bad("it nests folders more than %d deep", u.limits.Depth)
	}
	return rest, nil
}

// mkdir makes a folder and those above it. They stay writable until sealAll.
func (u *unpacker) mkdir(name string) error {
	if u.dirs[name] {
		return nil
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	if err := u.root.Mkdir(name, 0o755); err != nil {
		return u.taken(name, err)
	}
	u.dirs[name] = true
	return nil
}

func (u *unpacker) taken(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return bad("it holds %q twice", clip(name))
	}
	return err
}

func (u *unpacker) file(name string, h *tar.Header, in io.Reader) error {
	if h.Size > u.limits.File {
		return bad("its file %q is larger than %s", clip(name), size(u.limits.File))
	}
	if u.result.Bytes += h.Size; u.result.Bytes > u.limits.Unpacked {
		return bad("it unpacks to more than %s", size(u.limits.Unpacked))
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	mode := fs.FileMode(0o444)
	if h.Mode&0o100 != 0 {
		mode = 0o555
	}
	out, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return u.taken(name, err)
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(mode) // whatever the umask
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	return fault(err)
}

// linkAll makes the symbolic links, once no more files can be written through
// them, and takes those away that lead out or nowhere, or to a folder that they
// lie in, which would have no end.
func (u *unpacker) linkAll() error {
	made := u.links[:0]
	for _, l := range u.links {
		if err := u.mkdir(path.Dir(l.name)); err != nil {
			return err
		}
		if l.target == "" || len(l.target) > u.limits.Path || path.IsAbs(l.target) || strings.Contains(l.target, "\x00") {
			u.result.Left = append(u.result.Left, l.name)
			continue
		}
		if err := u.root.Symlink(l.target, l.name); err != nil {
			return u.taken(l.name, err)
		}
		made = append(made, l)
	}
	var stray []string
	for _, l := range made {
		if u.strays(l) {
			stray = append(stray, l.name)
		}
	}
	for _, name := range stray {
		if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		u.result.Left = append(u.result.Left, name)
	}
	return nil
}

// strays follows a link. os.Root refuses each step that leaves it, however
// many links it goes through.
func (u *unpacker) strays(l link) bool {
	info, err := u.root.Stat(l.name)
	if err != nil {
		return true
	}
	for dir := path.Dir(l.name); info.IsDir(); dir = path.Dir(dir) {
		if above, err := u.root.Stat(dir); err != nil || os.SameFile(info, above) {
			return true
		}
		if dir == "." {
			break
		}
	}
	return false
}

// sealAll makes the folders read-only.
func (u *unpacker) sealAll() error {
	for dir := range u.dirs {
		if err := u.root.Chmod(dir, 0o555); err != nil {
			return err
		}
	}
	return nil
}

func size(bytes int64) string {
	if bytes >= 1<<20 && bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
