// Package api is Berth's REST API, version 1, with its own OpenAPI document.
// It speaks for package bot and decides nothing itself.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// MaxBody is how many bytes the body of a request may have.
const MaxBody = 64 << 10

// Options are what an API needs.
type Options struct {
	Service *bot.Service
	Tokens  []Token      // none: every call is answered 401
	Version string       // of Berth, for the OpenAPI document
	Log     *slog.Logger // nil means none

	Issuers []Issuer         // whose signed tokens are taken too
	Pins    Pins             // nil means that a name may change hands
	Now     func() time.Time // nil means time.Now
}

// API serves /api. It is an http.Handler. Its streams end with the context of
// their requests, so a server that shuts down ends its base context.
type API struct {
	service *bot.Service
	log     *slog.Logger
	version string
	keys    atomic.Pointer[keyring]
	issuers atomic.Pointer[map[string]*provider] // by what `iss` says
	pins    Pins
	now     func() time.Time
	client  *http.Client // asks issuers for their keys
	mux     *http.ServeMux
	handler http.Handler
}

// New makes an API. It returns CodeInvalid for a token that is not configured
// right.
func New(o Options) (*API, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	hookErrors()
	a := &API{
		service: o.Service, log: o.Log, version: o.Version, mux: http.NewServeMux(),
		pins: o.Pins, now: o.Now, client: newIssuerClient(),
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.issuers.Store(&map[string]*provider{})
	a.SetIssuers(o.Issuers)
	if err := a.SetTokens(o.Tokens); err != nil {
		return nil, err
	}
	a.register()
	a.mux.Handle("/", Unknown(a.mux))
	private := a.authenticate(a.mux)
	a.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if strings.HasPrefix(r.URL.Path, "/api/openapi") {
			a.mux.ServeHTTP(w, r)
			return
		}
		private.ServeHTTP(w, r)
	})
	return a, nil
}

// SetTokens makes these the tokens that callers may have from now on. It changes
// nothing when it returns CodeInvalid, for a token that is not configured right.
func (a *API) SetTokens(tokens []Token) error {
	keys, err := newKeyring(tokens)
	if err == nil {
		a.keys.Store(&keys)
	}
	return err
}

// ServeHTTP answers everything under /api.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Unknown answers, with problem documents, what no other pattern of mux takes:
// paths that there are not, and methods that a path does not take.
func Unknown(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var methods []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "" && pattern != "/" {
				methods = append(methods, method)
			}
		}
		if len(methods) == 0 {
			problem(actions.CodeNotFound, "There is nothing at this path; /api/openapi.json says what there is.").write(w)
			return
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		withStatus(http.StatusMethodNotAllowed, actions.CodeInvalid, "This path takes "+strings.Join(methods, " or ")+".").write(w)
	})
}

// config is huma's configuration: no documentation pages, no links in bodies.
func (a *API) config() huma.Config {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	version := a.version
	if version == "" {
		version = "0"
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Berth", Version: version,
				Description: "Every pull request its own environment. Errors are problem documents (RFC 9457); lists are pages of `items` with a `next` cursor; times are RFC 3339 in UTC.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token": {Type: "http", Scheme: "bearer", Description: "A token whose SHA-256 stands under `tokens` in Berth's config."},
					"oidc":  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An ID or access token of an OpenID Connect issuer that stands under `oidc` in Berth's config. Without a role there it reads /api/v1/actor and can be linked (`link CODE`), no more."},
				},
			},
			Security: []map[string][]string{{"token": {}}, {"oidc": {}}},
		},
		OpenAPIPath:                  "/api/openapi",
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

func (a *API) register() {
	h := humago.New(a.mux, a.config())
	a.readOperations(h)
	a.writeOperations(h)
	a.lifeOperations(h)
	a.importOperations(h)
	a.policyOperations(h)
	a.accessOperations(h)
	a.streamOperations(h)
}

// operation describes one operation; all can fail in the same ways.
func operation(id, method, path, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: MaxBody,
		Errors: append([]int{http.StatusUnauthorized, http.StatusServiceUnavailable}, errs...),
	}
}

// fail turns an error into a Problem, and logs those that are not the caller's.
func (a *API) fail(ctx context.Context, err error) error {
	p := problemOf(err)
	if p.Status >= 500 && ctx.Err() == nil {
		a.log.ErrorContext(ctx, "an API call failed", "code", p.Code, "error", err)
	}
	return p
}
