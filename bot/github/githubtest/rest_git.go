package githubtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
)

func (s *Server) getBranch(c *call) *reply {
	name := c.params["branch"]
	sha, ok := c.repo.branches[name]
	if !ok {
		return problem(http.StatusNotFound, "Branch not found")
	}
	self := s.repoAPI(c.repo) + "/branches/" + url.PathEscape(name)
	return answer(http.StatusOK, obj{
		"name": name, "commit": s.commitView(c.repo, c.repo.objects[sha]),
		"_links":    obj{"self": self, "html": s.repoWeb(c.repo) + "/tree/" + escapePath(name)},
		"protected": false, "protection_url": self + "/protection",
		"protection": obj{
			"enabled":                false,
			"required_status_checks": obj{"enforcement_level": "off", "contexts": []any{}, "checks": []any{}},
		},
	})
}

// getCommit answers a commit, its SHA alone, or its diff, as Accept says.
func (s *Server) getCommit(c *call) *reply {
	ref := c.params["ref"]
	found := c.repo.resolve(ref)
	if found == nil {
		if len(c.repo.objects) == 0 {
			return problem(http.StatusConflict, "Git Repository is empty.")
		}
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+ref)
	}
	accept := c.r.Header.Get("Accept")
	if strings.Contains(accept, "sha") && strings.Contains(accept, "application/vnd.github") {
		return &reply{status: http.StatusOK, text: []byte(found.sha), contentType: "application/vnd.github.sha; charset=utf-8"}
	}
	return answer(http.StatusOK, s.fullCommitView(c.repo, found))
}

func (s *Server) getRef(c *call) *reply {
	ref := c.params["ref"]
	sha, ok := c.repo.refSHA("refs/" + ref)
	kind, _, _ := strings.Cut(ref, "/")
	if !ok || kind != "heads" && kind != "tags" && kind != "pull" {
		return notFound()
	}
	return answer(http.StatusOK, obj{
		"ref": "refs/" + ref, "node_id": nodeID("Ref", c.repo.id), "url": s.repoAPI(c.repo) + "/git/refs/" + escapePath(ref),
		"object": obj{"sha": sha, "type": "commit", "url": s.repoAPI(c.repo) + "/git/commits/" + sha},
	})
}

// maxInline is the largest file whose content comes with the metadata, in
// bytes. Source: docs.github.com/rest/repos/contents#get-repository-content
const maxInline = 1 << 20

func (s *Server) getContents(c *call) *reply {
	ref := c.r.URL.Query().Get("ref")
	at := c.repo.resolve(ref)
	if at == nil {
		if len(c.repo.objects) == 0 {
			return problem(http.StatusNotFound, "This repository is empty.")
		}
		return problem(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	name := strings.Trim(c.params["path"], "/")
	if f, ok := at.files[name]; ok {
		if strings.Contains(c.r.Header.Get("Accept"), "raw") {
			return &reply{status: http.StatusOK, text: f.data, contentType: "application/vnd.github.raw; charset=utf-8"}
		}
		view := s.contentView(c.repo, name, ref, f)
		if f.mode == "120000" {
			view["target"] = string(f.data)
			return answer(http.StatusOK, view)
		}
		view["content"], view["encoding"] = wrapBase64(f.data), "base64"
		if len(f.data) > maxInline {
			view["content"], view["encoding"] = "", "none"
		}
		return answer(http.StatusOK, view)
	}
	names := children(at.files, name)
	if len(names) == 0 && name != "" {
		return notFound()
	}
	views := []any{}
	for _, child := range names {
		full := path.Join(name, child)
		if strings.HasSuffix(child, "/") {
			views = append(views, s.contentView(c.repo, full, ref, file{mode: "40000", sha: treeSHA(at.files, full+"/")}))
			continue
		}
		views = append(views, s.contentView(c.repo, full, ref, at.files[full]))
	}
	return answer(http.StatusOK, views)
}

func (s *Server) contentView(r *repo, name, ref string, f file) obj {
	kind, web, git := "file", "blob", "blobs"
	var download any = fmt.Sprintf("%s/raw/%s/%s", s.repoWeb(r), escapePath(ref), escapePath(name))
	switch f.mode {
	case "40000":
		kind, web, git, download = "dir", "tree", "trees", nil
	case "120000":
		kind = "symlink"
	}
	self := fmt.Sprintf("%s/contents/%s?ref=%s", s.repoAPI(r), escapePath(name), url.QueryEscape(ref))
	html := fmt.Sprintf("%s/%s/%s/%s", s.repoWeb(r), web, escapePath(ref), escapePath(name))
	object := fmt.Sprintf("%s/git/%s/%s", s.repoAPI(r), git, f.sha)
	return obj{
		"name": path.Base(name), "path": name, "sha": f.sha, "size": len(f.data), "url": self,
		"html_url": html, "git_url": object, "download_url": download, "type": kind,
		"_links": obj{"self": self, "git": object, "html": html},
	}
}

// wrapBase64 breaks lines after 60 characters as GitHub does.
func wrapBase64(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(text) > 60 {
		b.WriteString(text[:60] + "\n")
		text = text[60:]
	}
	if text != "" {
		b.WriteString(text + "\n")
	}
	return b.String()
}

// getTarball sends the client to where the archive is. For a private
// repository the address holds a token of its own, as at GitHub.
func (s *Server) getTarball(c *call) *reply {
	ref := c.params["ref"]
	if c.repo.resolve(ref) == nil {
		return notFound()
	}
	to := fmt.Sprintf("%s/codeload/%s/legacy.tar.gz/%s", s.web(), c.repo.fullName(), escapePath(ref))
	if c.repo.private {
		token := randomText(29)
		s.downloads[token] = c.repo
		to += "?token=" + token
	}
	return &reply{status: http.StatusFound, header: http.Header{"Location": {to}}, contentType: "text/html;charset=utf-8"}
}
