package helm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	// resolveWithin is how long all images of a step may take together. A plan
	// is what somebody waits for; a registry answers in a tenth of a second.
	resolveWithin = 3 * time.Second
	// resolveAtOnce is how many images are asked for side by side.
	resolveAtOnce = 8
	// maxImages is how many images of one part are looked up; the largest
	// public charts have some 40.
	maxImages = 100
	// believed is how long a failure to find a digest is, for plans, so that a
	// registry that is away does not make each of them slow. A digest is never
	// kept: another replica of Berth may have seen the tag move already, and a
	// plan with the old one would be void at once.
	believed = 10 * time.Second
	// maxFailures is how many failures are kept.
	maxFailures = 1000
)

// images finds out what the tags of images mean. It is safe for concurrent use.
type images struct {
	http   *http.Client
	config string // the folder with credentials, which DOCKER_CONFIG names; "" has none
	tokens auth.Cache
	now    func() time.Time

	mu       sync.Mutex
	failures map[string]answer
}

// answer is what a registry said of a tag.
type answer struct {
	digest string // "sha256:…"; "" when it could not be resolved
	why    string // then
	at     time.Time
}

func newImages(client *http.Client, config string) *images {
	return &images{http: client, config: config, tokens: auth.NewCache(), now: time.Now, failures: map[string]answer{}}
}

// imageRef is an image as container runtimes understand its name.
type imageRef struct {
	registry.Reference
	pinned bool // it says a digest
}

// parseImage reads an image's name as a manifest has it. Names without a
// registry are Docker Hub's, and those without a tag mean "latest".
// Source: https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed
func parseImage(name string) (imageRef, error) {
	host, rest, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" && strings.ToLower(host) == host {
		host, rest = "docker.io", name
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	ref, err := registry.ParseReference(host + "/" + rest)
	if err != nil {
		return imageRef{}, err
	}
	pinned := strings.Contains(rest, "@")
	if ref.Reference == "" {
		if strings.HasSuffix(rest, ":") {
			return imageRef{}, fmt.Errorf("%w: an empty tag", errdef.ErrInvalidReference)
		}
		ref.Reference = "latest"
	}
	return imageRef{ref, pinned}, nil
}

// resolve finds the digests of images, which are named as manifests do, side by
// side. All have an answer. With fresh, failures that are kept do not count.
// plainHTTP is a registry that speaks HTTP without TLS, "" when none is said to.
func (i *images) resolve(ctx context.Context, names []string, plainHTTP string, fresh bool) map[string]answer {
	limited, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	client := &auth.Client{Client: i.http, Cache: i.tokens}
	client.SetUserAgent("berth-helm/" + Version)
	if i.config != "" {
		store, err := credentials.NewFileStore(filepath.Join(i.config, "config.json"))
		if err == nil { // else what needs no login is still found
			client.Credential = credentials.Credential(store)
		}
	}
	found := make([]answer, len(names))
	var group errgroup.Group
	group.SetLimit(resolveAtOnce)
	for n, name := range names {
		if n >= maxImages {
			found[n] = answer{why: fmt.Sprintf("a part has more than %d images", maxImages)}
			continue
		}
		group.Go(func() error {
			found[n] = i.one(limited, client, name, plainHTTP, fresh)
			return nil
		})
	}
	_ = group.Wait()
	out := make(map[string]answer, len(names))
	for n, name := range names {
		out[name] = found[n]
	}
	if ctx.Err() == nil { // else nobody waited for what the registries would have said
		i.remember(out)
	}
	return out
}

// one finds the digest of one image.
func (i *images) one(ctx context.Context, client remote.Client, name, plainHTTP string, fresh bool) answer {
	ref, err := parseImage(name)
	if err != nil {
		return answer{why: "it is no image's name"}
	}
	key := ref.String()
	i.mu.Lock()
	kept, ok := i.failures[key]
	i.mu.Unlock()
	if ok && !fresh && i.now().Sub(kept.at) < believed {
		return kept
	}
	repo := &remote.Repository{Client: client, Reference: ref.Reference, PlainHTTP: loopback(ref.Host()) || plainHTTP != "" && ref.Registry == plainHTTP}
	got := answer{at: i.now()}
	desc, err := repo.Resolve(ctx, ref.Reference.Reference)
	switch {
	case err != nil:
		got.why = whyUnresolved(ctx, err)
	case desc.Digest.Algorithm() != digest.SHA256:
		got.why = "its registry tells a digest that is not SHA-256"
	default:
		got.digest = desc.Digest.String()
	}
	return got
}

// remember keeps the failures among answers, and forgets those that passed.
func (i *images) remember(answers map[string]answer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, got := range answers {
		ref, err := parseImage(name)
		if err != nil || got.at.IsZero() {
			continue
		}
		key := ref.String()
		if got.digest != "" {
			delete(i.failures, key)
			continue
		}
		if len(i.failures) >= maxFailures {
			clear(i.failures)
		}
		i.failures[key] = got
	}
}

// whyUnresolved is a few words for people. What the registry said is not
// repeated: which registry is asked is the chart's to choose.
func whyUnresolved(ctx context.Context, err error) string {
	status := 0
	if resp, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		status = resp.StatusCode
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound) || status == http.StatusNotFound:
		return "its registry has no such tag"
	case status == http.StatusUnauthorized, status == http.StatusForbidden, errors.Is(err, auth.ErrBasicCredentialNotFound):
		return "its registry shows it with a login alone"
	case status == http.StatusTooManyRequests:
		return "its registry is asked too often"
	case status != 0:
		return fmt.Sprintf("its registry answered %d %s", status, http.StatusText(status))
	case ctx.Err() != nil:
		return "its registry did not answer in time"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "its registry speaks HTTP without TLS"
	case strings.Contains(err.Error(), "invalid response") || strings.Contains(err.Error(), "missing required header"):
		return "its registry does not tell a digest"
	}
	return "its registry cannot be reached"
}

// sortedNames are the keys of a set, in order.
func sortedNames(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for name := range set {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
