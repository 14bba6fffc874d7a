package githubtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// serveArchive is the stand-in's codeload.github.com.
func (s *Server) serveArchive(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.EscapedPath(), "/codeload/"), "/", 4)
	if len(parts) != 4 || parts[2] != "legacy.tar.gz" {
		http.NotFound(w, r)
		return
	}
	ref, err := url.PathUnescape(parts[3])
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	found := s.repos[strings.ToLower(parts[0]+"/"+parts[1])]
	var c *commit
	if found != nil && s.mayDownload(found, r) {
		c = found.resolve(ref)
	}
	s.mu.Unlock()
	if c == nil {
		http.NotFound(w, r)
		return
	}
	folder := fmt.Sprintf("%s-%s-%s", found.owner.login, found.name, c.sha[:7])
	data, err := archive(c, folder)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-gzip")
	w.Header().Set("Content-Disposition", "attachment; filename="+folder+".tar.gz")
	w.Header().Set("Etag", `"`+c.sha+`"`)
	_, _ = w.Write(data) // The client is gone; there is nobody to tell.
}

func (s *Server) mayDownload(r *repo, req *http.Request) bool {
	if !r.private || s.downloads[req.URL.Query().Get("token")] == r {
		return true
	}
	who, refusal := s.authenticate(req)
	return refusal == nil && who.sees(r)
}

// archive packs a commit the way git archive does: a global header with the
// SHA, then everything below one folder.
func archive(c *commit, folder string) ([]byte, error) {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	headers := []tar.Header{
		{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": c.sha}},
		directory(folder, c.when),
	}
	for i := range headers {
		if err := tw.WriteHeader(&headers[i]); err != nil {
			return nil, fmt.Errorf("pack %s: %w", c.sha, err)
		}
	}
	made := map[string]bool{".": true}
	for _, name := range sortedKeys(c.files) {
		if err := packFile(tw, c, folder, name, made); err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func directory(name string, when time.Time) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o775, ModTime: when}
}

func packFile(tw *tar.Writer, c *commit, folder, name string, made map[string]bool) error {
	var missing []string
	for dir := path.Dir(name); !made[dir]; dir = path.Dir(dir) {
		made[dir] = true
		missing = append(missing, dir)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		h := directory(folder+"/"+missing[i], c.when)
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
	}
	f := c.files[name]
	h := tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + name, Mode: 0o664, Size: int64(len(f.data)), ModTime: c.when}
	switch f.mode {
	case "100755":
		h.Mode = 0o775
	case "120000":
		h.Typeflag, h.Linkname, h.Size, h.Mode = tar.TypeSymlink, string(f.data), 0, 0o777
	}
	if err := tw.WriteHeader(&h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	_, err := tw.Write(f.data)
	return err
}
