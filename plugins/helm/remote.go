package helm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/Masterminds/semver/v3"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/repo"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// dialLimit is how long connecting to a server may take.
	dialLimit   = 8 * time.Second
	maxIndex    = 64 << 20 // bytes of a repository's index.yaml; the largest public ones have about 20 MiB
	maxManifest = 4 << 20  // bytes of an OCI manifest; registries refuse larger ones
	maxIndexes  = 8        // repositories whose index is kept
	fetchLimit  = 2 * time.Minute
)

// newFetchClient is an HTTP client that gives up on a server that does not
// answer, whatever the caller's deadline.
func newFetchClient() *http.Client {
	return &http.Client{
		Timeout: fetchLimit,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dialLimit, KeepAlive: 30 * time.Second, Control: notLinkLocal}).DialContext,
			TLSHandshakeTimeout:   dialLimit,
			ResponseHeaderTimeout: 30 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   4,
			IdleConnTimeout:       90 * time.Second,
		},
	}
}

// notLinkLocal refuses connections to link-local addresses, where clouds hand
// out credentials to whoever asks. Charts name the registries of their images,
// and no registry is there.
// Source: RFC 3927, and https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
func notLinkLocal(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLinkLocalUnicast() || ip == cloudMetadata {
		return fmt.Errorf("%s is a link-local address, where no registry is", host)
	}
	return nil
}

// cloudMetadata is where AWS serves over IPv6 what it serves at 169.254.169.254.
var cloudMetadata = netip.MustParseAddr("fd00:ec2::254")

// fromRegistry pulls from an OCI registry. The tag is looked up every time,
// since tags move; content is kept by its digest.
func (c *charts) fromRegistry(ctx context.Context, s settings) (*source, error) {
	name := strings.TrimPrefix(s.Chart, "oci://")
	r, err := remote.NewRepository(name)
	if err != nil || strings.Contains(path.Base(name), ":") || strings.Contains(name, "@") {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("%q is no OCI chart: write it as oci://HOST/PATH, with the tag in `version`.", kube.Clip(s.Chart, 120)), Err: err}
	}
	r.PlainHTTP = s.PlainHTTP
	client := &auth.Client{Client: c.http, Cache: auth.NewCache()}
	client.SetUserAgent("berth-helm/" + Version)
	if c.credentials != "" {
		store, err := credentials.NewFileStore(filepath.Join(c.credentials, "config.json"))
		if err != nil {
			return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The registry credentials in the folder that DOCKER_CONFIG names cannot be read: check its config.json.", Err: err}
		}
		client.Credential = credentials.Credential(store)
	}
	r.Client = client

	tag, err := ociTag(ctx, r, s)
	if err != nil {
		return nil, registryError(err, s)
	}
	desc, err := r.Resolve(ctx, tag)
	if err != nil {
		return nil, registryError(err, s)
	}
	key := "oci " + name + "@" + string(desc.Digest)
	if src := c.remembered(key); src != nil {
		return src, nil
	}
	data, err := pullChart(ctx, r, desc, s)
	if err != nil {
		return nil, registryError(err, s)
	}
	src, err := unpack(data, s.Chart)
	if err == nil {
		c.remember(key, src)
	}
	return src, err
}

// ociTag is the tag that `version` means: itself, or for a range or nothing
// the highest version that fits. A "+" of a version is "_" in a tag.
func ociTag(ctx context.Context, r *remote.Repository, s settings) (string, error) {
	if _, err := semver.NewVersion(s.Version); err == nil {
		return strings.ReplaceAll(s.Version, "+", "_"), nil
	}
	constraint, err := semver.NewConstraint(orAny(s.Version))
	if err != nil {
		return "", sdk.Invalid("`version` is %q, which is neither a version nor a range; write 1.2.3 or ^1.2.", kube.Clip(s.Version, 60))
	}
	var best *semver.Version
	var tag string
	err = r.Tags(ctx, "", func(tags []string) error {
		for _, t := range tags {
			v, err := semver.StrictNewVersion(strings.ReplaceAll(t, "_", "+"))
			if err == nil && constraint.Check(v) && (best == nil || v.GreaterThan(best)) {
				best, tag = v, t
			}
		}
		return nil
	})
	if err == nil && best == nil {
		err = errdef.ErrNotFound
	}
	return tag, err
}

// pullChart gets the chart's layer. Sizes are checked before anything is read,
// digests when it is.
func pullChart(ctx context.Context, r *remote.Repository, desc ocispec.Descriptor, s settings) ([]byte, error) {
	if desc.Size > maxManifest {
		return nil, tooLarge(s.Chart)
	}
	data, err := content.FetchAll(ctx, r, desc)
	if err != nil {
		return nil, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("%q is no chart: its manifest cannot be read.", kube.Clip(s.Chart, 120)), Err: err}
	}
	for _, layer := range manifest.Layers {
		if layer.MediaType != registry.ChartLayerMediaType && layer.MediaType != registry.LegacyChartLayerMediaType {
			continue
		}
		if layer.Size > maxArchive {
			return nil, tooLarge(s.Chart)
		}
		return content.FetchAll(ctx, r, layer)
	}
	return nil, sdk.Invalid("%q has no Helm chart in it; it is some other kind of artifact.", kube.Clip(s.Chart, 120))
}

func registryError(err error, s settings) error {
	if _, ok := errors.AsType[*sdk.Error](err); ok {
		return err
	}
	what := kube.Clip(s.Chart, 120)
	if s.Version != "" {
		what += " " + kube.Clip(s.Version, 40)
	}
	status := 0
	if resp, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		status = resp.StatusCode
	}
	switch {
	case errors.Is(err, errdef.ErrNotFound) || status == http.StatusNotFound:
		return &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The registry has no chart %q: check `chart` and `version`.", what), Err: err}
	case status == http.StatusUnauthorized || status == http.StatusForbidden || errors.Is(err, auth.ErrBasicCredentialNotFound):
		return &sdk.Error{Fault: sdk.FaultDownstream, Msg: fmt.Sprintf("The registry does not give out the chart %q without a login: give the helm plugin DOCKER_CONFIG, a folder with a config.json that may read it.", what), Err: err}
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The registry speaks HTTP without TLS: set `plain_http: true` if that is meant.", Err: err}
	}
	return unreachableSource(err, "The registry")
}

// index is a repository's index with what makes asking again cheap.
type index struct {
	etag, modified string
	file           *repo.IndexFile
}

// fromRepository gets a chart from an HTTP repository.
func (c *charts) fromRepository(ctx context.Context, s settings) (*source, error) {
	base, err := url.Parse(s.Repo)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, sdk.Invalid("`repo` is %q, which is no address of a chart repository; it begins with https://. For an OCI registry write it in `chart`.", kube.Redact(kube.Clip(s.Repo, 120)))
	}
	idx, err := c.index(ctx, s)
	if err != nil {
		return nil, err
	}
	entry, err := idx.Get(s.Chart, s.Version)
	if err != nil || len(entry.URLs) == 0 {
		if _, known := idx.Entries[s.Chart]; known {
			return nil, sdk.Invalid("The chart repository has %q, but not in version %q: check `version`.", kube.Clip(s.Chart, 80), kube.Clip(s.Version, 40))
		}
		return nil, sdk.Invalid("The chart repository has no chart %q: check `chart` and `repo`.", kube.Clip(s.Chart, 80))
	}
	address, err := repo.ResolveReferenceURL(s.Repo, entry.URLs[0])
	if err != nil || !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return nil, &sdk.Error{Fault: sdk.FaultDownstream, Msg: fmt.Sprintf("The chart repository gives an address for %q that is none; tell whoever keeps it.", kube.Clip(s.Chart, 80)), Err: err}
	}
	want := strings.TrimPrefix(entry.Digest, "sha256:")
	key := "http " + address + " " + want
	if want != "" {
		if src := c.remembered(key); src != nil {
			return src, nil
		}
	}
	data, _, _, err := c.get(ctx, address, "", "", maxArchive)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); want != "" && !strings.EqualFold(want, hex.EncodeToString(sum[:])) {
		return nil, sdk.Downstream("The chart %q that the repository sent is not the one in its index (the checksums differ); tell whoever keeps it.", kube.Clip(s.Chart, 80))
	}
	src, err := unpack(data, s.Chart)
	if err == nil && want != "" {
		c.remember(key, src)
	}
	return src, err
}

// index asks for the repository's index, or for confirmation of the one kept.
func (c *charts) index(ctx context.Context, s settings) (*repo.IndexFile, error) {
	c.mu.Lock()
	kept := c.indexes[s.Repo]
	c.mu.Unlock()
	var etag, modified string
	if kept != nil {
		etag, modified = kept.etag, kept.modified
	}
	data, header, fresh, err := c.get(ctx, strings.TrimSuffix(s.Repo, "/")+"/index.yaml", etag, modified, maxIndex)
	if err != nil {
		return nil, err
	}
	if fresh && kept != nil {
		return kept.file, nil
	}
	file := &repo.IndexFile{}
	if err := yaml.Unmarshal(data, file); err != nil || file.Entries == nil {
		return nil, &sdk.Error{Fault: sdk.FaultDownstream, Msg: "What the chart repository calls its index.yaml is none: check `repo`.", Err: err}
	}
	for name, versions := range file.Entries {
		whole := versions[:0]
		for _, v := range versions {
			if v != nil && v.Metadata != nil {
				whole = append(whole, v)
			}
		}
		file.Entries[name] = whole
	}
	file.SortEntries()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.indexes) >= maxIndexes {
		clear(c.indexes)
	}
	if header.Get("ETag") != "" || header.Get("Last-Modified") != "" {
		c.indexes[s.Repo] = &index{etag: header.Get("ETag"), modified: header.Get("Last-Modified"), file: file}
	}
	return file, nil
}

// get reads at most limit bytes; fresh means that the caller's copy is current.
func (c *charts) get(ctx context.Context, address, etag, modified string, limit int64) (data []byte, header http.Header, fresh bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, false, &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The address of the chart repository cannot be used: check `repo`.", Err: err}
	}
	req.Header.Set("User-Agent", "berth-helm/"+Version)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	} else if modified != "" {
		req.Header.Set("If-Modified-Since", modified)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, false, unreachableSource(err, "The chart repository")
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return nil, resp.Header, true, nil
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, false, sdk.Invalid("The chart repository has no %s: check `repo`, `chart` and `version`.", path.Base(req.URL.Path))
	case resp.StatusCode != http.StatusOK:
		failed := sdk.Downstream("The chart repository answered %d %s: check `repo`, or try again later.", resp.StatusCode, http.StatusText(resp.StatusCode))
		failed.Retry = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests
		return nil, nil, false, failed
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, false, unreachableSource(err, "The chart repository")
	}
	if int64(len(data)) > limit {
		return nil, nil, false, sdk.Invalid("The chart repository sent more than %d MiB for %s, which is more than Berth takes.", limit>>20, path.Base(req.URL.Path))
	}
	return data, resp.Header, false, nil
}

func unreachableSource(err error, who string) error {
	return &sdk.Error{Fault: sdk.FaultDownstream, Msg: who + " cannot be reached (" + kube.NetworkCause(err) + "): check its address, or try again later.", Err: err, Retry: true}
}

// versionMatches tells whether have is want, or in the range that want is.
func versionMatches(want, have string) bool {
	if want == have {
		return true
	}
	constraint, err := semver.NewConstraint(want)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(have)
	return err == nil && constraint.Check(v)
}

func orAny(version string) string {
	if version == "" {
		return "*"
	}
	return version
}
