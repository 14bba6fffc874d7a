package githubtest

import (
	"bytes"
	"crypto/sha1" // Git's object names are SHA-1; nothing here relies on it for security.
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pmezard/go-difflib/difflib"
)

// commit is a snapshot with its history. Its SHA is what git would compute.
type commit struct {
	sha     string
	tree    string
	parents []string
	message string
	author  *account
	when    time.Time
	files   map[string]file // path → content
}

type file struct {
	mode string // git's: 100644, 100755 or 120000
	data []byte
	sha  string
}

func objectSHA(kind string, data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// readTree takes a snapshot of files. A nil file system is an empty tree; what
// lies in .git is not part of it.
func readTree(files fs.FS) (map[string]file, error) {
	tree := map[string]file{}
	if files == nil {
		return tree, nil
	}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		f, err := readFile(files, name, entry)
		if err != nil {
			return err
		}
		tree[name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("githubtest: read the commit's files: %w", err)
	}
	return tree, nil
}

func readFile(files fs.FS, name string, entry fs.DirEntry) (file, error) {
	f := file{mode: "100644"}
	var err error
	if entry.Type()&fs.ModeSymlink != 0 {
		var target string
		target, err = fs.ReadLink(files, name)
		f.mode, f.data = "120000", []byte(target)
	} else {
		var info fs.FileInfo
		if info, err = entry.Info(); err != nil {
			return f, err
		}
		if info.Mode()&0o111 != 0 {
			f.mode = "100755"
		}
		f.data, err = fs.ReadFile(files, name)
	}
	f.sha = objectSHA("blob", f.data)
	return f, err
}

// treeSHA names the tree below dir ("" is the top).
func treeSHA(files map[string]file, dir string) string {
	type entry struct{ name, mode, sha string }
	var entries []entry
	seen := map[string]bool{}
	for name, f := range files {
		rest, ok := strings.CutPrefix(name, dir)
		if !ok {
			continue
		}
		first, _, nested := strings.Cut(rest, "/")
		switch {
		case !nested:
			entries = append(entries, entry{first, f.mode, f.sha})
		case !seen[first]:
			seen[first] = true
			entries = append(entries, entry{first, "40000", treeSHA(files, dir+first+"/")})
		}
	}
	// Git sorts a directory as though its name ended in a slash.
	key := func(e entry) string {
		if e.mode == "40000" {
			return e.name + "/"
		}
		return e.name
	}
	sort.Slice(entries, func(i, j int) bool { return key(entries[i]) < key(entries[j]) })
	var buf bytes.Buffer
	for _, e := range entries {
		raw, _ := hex.DecodeString(e.sha) // Made by objectSHA, so always valid.
		fmt.Fprintf(&buf, "%s %s\x00%s", e.mode, e.name, raw)
	}
	return objectSHA("tree", buf.Bytes())
}

func (s *Server) newCommit(r *repo, files map[string]file, message string, author *account, parents ...string) *commit {
	c := &commit{parents: parents, message: message, author: author, when: s.now(), files: files}
	c.tree = treeSHA(files, "")
	name := author.name
	if name == "" {
		name = author.login
	}
	who := fmt.Sprintf("%s <%s> %d +0000", name, author.mail(), c.when.Unix())
	var text strings.Builder
	fmt.Fprintf(&text, "tree %s\n", c.tree)
	for _, parent := range parents {
		fmt.Fprintf(&text, "parent %s\n", parent)
	}
	fmt.Fprintf(&text, "author %s\ncommitter %s\n\n%s\n", who, who, message)
	c.sha = objectSHA("commit", []byte(text.String()))
	r.objects[c.sha] = c
	return c
}

// resolve finds what ref names: a branch, a tag, a pull request's head, or a
// SHA of at least four digits that no other commit starts with.
func (r *repo) resolve(ref string) *commit {
	if ref == "" || ref == "HEAD" {
		ref = r.defaultBranch
	}
	if sha, ok := r.refSHA(ref); ok {
		return r.objects[sha]
	}
	if len(ref) < 4 || strings.Trim(ref, "0123456789abcdef") != "" {
		return nil
	}
	var found *commit
	for sha, c := range r.objects {
		if strings.HasPrefix(sha, ref) {
			if found != nil {
				return nil
			}
			found = c
		}
	}
	return found
}

func (r *repo) refSHA(ref string) (string, bool) {
	ref = strings.TrimPrefix(ref, "refs/")
	var number int
	var kind string
	if n, _ := fmt.Sscanf(strings.ReplaceAll(ref, "/", " "), "pull %d %s", &number, &kind); n == 2 && kind == "head" {
		if t := r.threads[number]; t != nil && t.pull != nil {
			return t.pull.headSHA, true
		}
	}
	if name, ok := strings.CutPrefix(ref, "heads/"); ok {
		sha, ok := r.branches[name]
		return sha, ok
	}
	if name, ok := strings.CutPrefix(ref, "tags/"); ok {
		sha, ok := r.tags[name]
		return sha, ok
	}
	if sha, ok := r.branches[ref]; ok {
		return sha, true
	}
	sha, ok := r.tags[ref]
	return sha, ok
}

// ancestors is the commit itself and all that it builds on.
func (r *repo) ancestors(sha string) map[string]bool {
	seen := map[string]bool{}
	todo := []string{sha}
	for len(todo) > 0 {
		sha, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if c := r.objects[sha]; c != nil && !seen[sha] {
			seen[sha] = true
			todo = append(todo, c.parents...)
		}
	}
	return seen
}

// between lists the commits that head has and base lacks, oldest first.
func (r *repo) between(base, head string) []*commit {
	known := r.ancestors(base)
	var list []*commit
	var walk func(string)
	walk = func(sha string) {
		c := r.objects[sha]
		if c == nil || known[sha] {
			return
		}
		known[sha] = true
		for _, parent := range c.parents {
			walk(parent)
		}
		list = append(list, c)
	}
	walk(head)
	return list
}

// mergeBase is the newest commit that both have in common; nil if none.
func (r *repo) mergeBase(a, b string) *commit {
	common := r.ancestors(a)
	seen := map[string]bool{}
	todo := []string{b}
	for len(todo) > 0 {
		sha := todo[0]
		todo = todo[1:]
		if common[sha] {
			return r.objects[sha]
		}
		if c := r.objects[sha]; c != nil && !seen[sha] {
			seen[sha] = true
			todo = append(todo, c.parents...)
		}
	}
	return nil
}

// merge lays what changed from the common base to theirs over ours. The second
// result is false when both sides changed a file differently.
func (r *repo) merge(ours, theirs string) (map[string]file, bool) {
	base := map[string]file{}
	if c := r.mergeBase(ours, theirs); c != nil {
		base = c.files
	}
	a, b := r.objects[ours], r.objects[theirs]
	if a == nil || b == nil {
		return nil, false
	}
	merged := map[string]file{}
	for name, f := range a.files {
		merged[name] = f
	}
	for _, name := range union(base, b.files) {
		old, had := base[name]
		now, has := b.files[name]
		if had == has && old.sha == now.sha {
			continue
		}
		mine, have := a.files[name]
		if have != had || mine.sha != old.sha {
			if have != has || mine.sha != now.sha {
				return nil, false
			}
		}
		if has {
			merged[name] = now
		} else {
			delete(merged, name)
		}
	}
	return merged, true
}

func union(a, b map[string]file) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// change is one file's difference between two trees.
type change struct {
	name               string
	before             string // its name before, when it was renamed
	status             string // "added", "removed", "modified" or "renamed"
	sha                string
	additions, removal int
	patch              string
}

// changes compares two trees; either may be nil.
func changes(from, to map[string]file) []change {
	var list []change
	for _, name := range union(from, to) {
		old, had := from[name]
		now, has := to[name]
		if had && has && old.sha == now.sha && old.mode == now.mode {
			continue
		}
		c := change{name: name, status: "modified", sha: now.sha}
		switch {
		case !had:
			c.status = "added"
		case !has:
			c.status, c.sha = "removed", old.sha
		}
		c.diff(old.data, now.data)
		list = append(list, c)
	}
	return renames(list)
}

// renames makes one change of a file that went and one that came with the same
// content, as GitHub does.
func renames(list []change) []change {
	gone := map[string]int{} // what was removed, by content
	for i, c := range list {
		if c.status == "removed" {
			gone[c.sha] = i
		}
	}
	moved := map[int]bool{}
	for i, c := range list {
		from, ok := gone[c.sha]
		if c.status != "added" || !ok || moved[from] {
			continue
		}
		moved[from] = true
		list[i] = change{name: c.name, before: list[from].name, status: "renamed", sha: c.sha}
	}
	var left []change
	for i, c := range list {
		if !moved[i] {
			left = append(left, c)
		}
	}
	return left
}

// diff fills in the counts and the patch; binary files have neither.
func (c *change) diff(old, now []byte) {
	if bytes.IndexByte(old, 0) >= 0 || bytes.IndexByte(now, 0) >= 0 {
		return
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(old), B: lines(now), Context: 3,
	})
	if err != nil {
		return
	}
	// GitHub's patch starts at the first @@, without the file names.
	if i := strings.Index(text, "@@"); i >= 0 {
		c.patch = strings.TrimSuffix(text[i:], "\n")
	}
	for line := range strings.SplitSeq(c.patch, "\n") {
		switch {
		case strings.HasPrefix(line, "+"):
			c.additions++
		case strings.HasPrefix(line, "-"):
			c.removal++
		}
	}
}

func lines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return difflib.SplitLines(strings.TrimSuffix(string(data), "\n"))
}

// children lists the names directly below dir ("" is the top): files, and
// directories with a trailing slash.
func children(files map[string]file, dir string) []string {
	prefix := ""
	if dir != "" {
		prefix = path.Clean(dir) + "/"
	}
	seen := map[string]bool{}
	for name := range files {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		first, _, nested := strings.Cut(rest, "/")
		if nested {
			first += "/"
		}
		seen[first] = true
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
