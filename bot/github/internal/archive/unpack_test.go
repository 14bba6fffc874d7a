package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// targz makes an archive of headers; a file's content is its PAX record "x".
func targz(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, h := range headers {
		content := h.PAXRecords["BERTH.content"]
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.PAXRecords = nil
		}
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(append([]byte(content), make([]byte, int(h.Size)-len(content))...)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o666, PAXRecords: map[string]string{"BERTH.content": content}}
}

func folder(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o777}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func TestUnpack(t *testing.T) {
	small := Limits{Unpacked: 1000, File: 600, Files: 5, Path: 50, Depth: 3}
	tests := map[string]struct {
		headers []tar.Header
		want    string // what is there after, as "path=content" or "path/"; "" when it is refused
		left    string // links that were left out
	}{
		"a plain tree":                       {[]tar.Header{folder("top/"), file("top/a", "1"), file("top/d/b", "2")}, "a=1 d/ d/b=2", ""},
		"only the top folder":                {[]tar.Header{folder("top/")}, " ", ""},
		"the commit in a global header":      {[]tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "abc"}}, file("top/a", "1")}, "a=1", ""},
		"a path upwards":                     {[]tar.Header{file("top/../../a", "1")}, "", ""},
		"an absolute path":                   {[]tar.Header{file("/etc/x", "1")}, "", ""},
		"a path with a backslash":            {[]tar.Header{file(`top/..\a`, "1")}, "", ""},
		"two top folders":                    {[]tar.Header{file("top/a", "1"), file("other/a", "1")}, "", ""},
		"the same file twice":                {[]tar.Header{file("top/a", "1"), file("top/a", "2")}, "", ""},
		"a file where a folder is":           {[]tar.Header{file("top/a/b", "1"), file("top/a", "2")}, "", ""},
		"a folder where a file is":           {[]tar.Header{file("top/a", "1"), file("top/a/b", "2")}, "", ""},
		"a hard link":                        {[]tar.Header{{Typeflag: tar.TypeLink, Name: "top/a", Linkname: "/etc/passwd"}}, "", ""},
		"a device":                           {[]tar.Header{{Typeflag: tar.TypeChar, Name: "top/a"}}, "", ""},
		"a named pipe":                       {[]tar.Header{{Typeflag: tar.TypeFifo, Name: "top/a"}}, "", ""},
		"a link beside":                      {[]tar.Header{file("top/a", "1"), symlink("top/b", "a")}, "a=1 b=1", ""},
		"a link up and down inside":          {[]tar.Header{file("top/a", "1"), symlink("top/d/b", "../a")}, "a=1 d/ d/b=1", ""},
		"a link to an absolute path":         {[]tar.Header{file("top/a", "1"), symlink("top/b", "/etc/passwd")}, "a=1", "b"},
		"a link out":                         {[]tar.Header{file("top/a", "1"), symlink("top/b", "../../../../../../etc/passwd")}, "a=1", "b"},
		"a link to nothing":                  {[]tar.Header{file("top/a", "1"), symlink("top/b", "c")}, "a=1", "b"},
		"a link to itself":                   {[]tar.Header{file("top/a", "1"), symlink("top/b", "b")}, "a=1", "b"},
		"a link to the folder that it is in": {[]tar.Header{file("top/d/a", "1"), symlink("top/d/b", "."), symlink("top/d/c", "..")}, "d/ d/a=1", "d/b d/c"},
		"a link that leaves through another": {[]tar.Header{file("top/a/b/x", "1"), symlink("top/a/b/p", "../.."), symlink("top/m", "a/b/p/../etc")}, "a/ a/b/ a/b/x=1", "a/b/p m"},
		"a file written through a link":      {[]tar.Header{symlink("top/l", "/tmp"), file("top/l/a", "1")}, "l/ l/a=1", "l"},
		"a file through a link inside":       {[]tar.Header{folder("top/d"), symlink("top/l", "d"), file("top/l/a", "1")}, "", ""},
		"too large a file":                   {[]tar.Header{file("top/a", strings.Repeat("x", 601))}, "", ""},
		"too much in all":                    {[]tar.Header{file("top/a", strings.Repeat("x", 500)), file("top/b", strings.Repeat("x", 501))}, "", ""},
		"too many files":                     {[]tar.Header{file("top/1", ""), file("top/2", ""), file("top/3", ""), file("top/4", ""), file("top/5", ""), file("top/6", "")}, "", ""},
		"too long a path":                    {[]tar.Header{file("top/"+strings.Repeat("x", 50), "")}, "", ""},
		"too deep a path":                    {[]tar.Header{file("top/a/b/c/d/e", "")}, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tree")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			result, err := Unpack(bytes.NewReader(targz(t, tt.headers...)), dir, small)
			if tt.want == "" {
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Fatalf("err = %v, want an *Error; there is %q", err, tree(t, dir))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tree(t, dir); got != strings.TrimSpace(tt.want) {
				t.Errorf("there is %q, want %q", got, tt.want)
			}
			if got := strings.Join(result.Left, " "); got != tt.left {
				t.Errorf("left out %q, want %q", got, tt.left)
			}
		})
	}
}

// tree lists dir, and fails the test for what can be written to.
func tree(t testing.TB, dir string) string {
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case name == ".":
		case info.IsDir() && d.IsDir():
			all = append(all, name+"/")
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			all = append(all, name+"="+string(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestUnpackedFilesAreReadOnly(t *testing.T) {
	dir := t.TempDir()
	run := file("top/run", "#!")
	run.Mode = 0o4777 // set-uid does not survive
	if _, err := Unpack(bytes.NewReader(targz(t, file("top/a", "1"), run, folder("top/d"))), dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a": 0o444, "run": 0o555, "d": 0o555 | fs.ModeDir, ".": 0o555 | fs.ModeDir} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
	_ = os.Chmod(dir, 0o755) // so that the test's folder can be removed
}

func TestAnArchiveLargerThanAllowedIsNotReadToItsEnd(t *testing.T) {
	data := targz(t, file("top/a", strings.Repeat("x", 1000)))
	if _, err := Unpack(bytes.NewReader(data), t.TempDir(), Limits{Compressed: 20}); err == nil || !strings.Contains(err.Error(), "20 bytes") {
		t.Errorf("err = %v", err)
	}
}

// FuzzUnpack is best run with -fuzzminimizetime=0s: what a file system does is
// not the same twice, and the fuzzer takes that for something to look into.
func FuzzUnpack(f *testing.F) {
	f.Add(targz(f, folder("top/"), file("top/a", "1"), symlink("top/b", "a"), symlink("top/c", "/etc")))
	f.Add(targz(f, file("top/a/b/x", "1"), symlink("top/a/b/p", "../.."), symlink("top/m", "a/b/p/../etc")))
	f.Add(targz(f, symlink("top/l", "/tmp"), file("top/l/a", "1")))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The fuzzer rarely gets a checksum of gzip right, so plain tar is tried too.
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write(data)
		_ = w.Close()
		for _, in := range [][]byte{data, zipped.Bytes()} {
			above := t.TempDir()
			dir := filepath.Join(above, "tree")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := Unpack(bytes.NewReader(in), dir, Limits{Unpacked: 1 << 20, File: 1 << 20, Files: 100})
			if err == nil {
				checkInside(t, dir)
			}
			if found, _ := os.ReadDir(above); len(found) != 1 {
				t.Fatalf("something was written outside: %v", found)
			}
			_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					_ = os.Chmod(path, 0o755)
				}
				return nil
			})
		}
	})
}

// checkInside fails the test when something in dir is, or leads to, anything
// but a file or folder in dir.
func checkInside(t *testing.T, dir string) {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			t.Fatal(err)
		}
		to, err := filepath.EvalSymlinks(path)
		if err != nil || (to != resolved && !strings.HasPrefix(to, resolved+"/")) {
			t.Fatalf("%s leads to %s (%v)", path, to, err)
		}
		if info, err := os.Stat(path); err != nil || (!info.IsDir() && !info.Mode().IsRegular()) {
			t.Fatalf("%s is %v (%v)", path, info, err)
		}
		return nil
	})
}
