package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"
)

// maxHops is how many redirects are followed to an archive.
const maxHops = 5

// errNowhere says that GitHub sends us to where we do not go.
var errNowhere = errors.New("an answer that leads nowhere")

// newDownload makes the client that archives are downloaded with. It sends no
// credentials, since the addresses that it is given are signed, and does not
// go on from a signed address by telling the next host about it.
func newDownload(base *url.URL, via http.RoundTripper) *http.Client {
	return &http.Client{Transport: via, CheckRedirect: func(next *http.Request, before []*http.Request) error {
		if len(before) > maxHops || !safeScheme(base, next.URL) {
			return errNowhere
		}
		next.Header.Del("Referer")
		return nil
	}}
}

// safeScheme tells whether an address is as private as the API's.
func safeScheme(base, u *url.URL) bool { return u.Scheme == "https" || u.Scheme == base.Scheme }

// tarball opens the archive of a commit, which the caller closes. GitHub answers
// with an address that is signed for a few minutes, on another host, which never
// sees our credentials.
func (c *client) tarball(ctx context.Context, repo, sha string) (io.ReadCloser, error) {
	const what = "get an archive of"
	var link *url.URL
	err := c.do(ctx, call{what: what, repo: repo}, func(ctx context.Context, at place) error {
		found, resp, err := at.Repositories.GetArchiveLink(ctx, at.owner, at.name, gh.Tarball, &gh.RepositoryContentGetOptions{Ref: sha}, maxHops)
		if err == nil {
			link = c.base.ResolveReference(found)
			if !safeScheme(c.base, link) {
				return errNowhere
			}
		}
		if resp != nil && resp.StatusCode >= http.StatusBadRequest {
			return &gh.ErrorResponse{Response: resp.Response} // go-github says so in words only
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, repo, err)
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := c.download.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, repo, withoutURL(err))
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if mayPause(resp.StatusCode) {
		sayPause(resp)
	}
	if after := pauseOf(resp); after > 0 {
		return nil, &limitedError{after: after} // of the archives' host, not of the API
	}
	return nil, &apiError{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode), Call: what + " " + repo}
}

// withoutURL is err without the address that it was at, which is signed.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
