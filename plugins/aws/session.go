package aws

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-dev/berth/plugins/sdk"
)

// session is what the things of one part are opened in: the account and region,
// whose they are, and what the part says for all of its kinds.
type session struct {
	*clients
	place  place
	owner  owner
	step   sdk.Step
	log    *slog.Logger
	now    func() time.Time
	retain retention
	// known tells whether there are settings of the part. Without them its things
	// are told what they are only by their tags.
	known        bool
	capabilities []string          // what settings let templates of stacks ask for
	boundary     string            // ARN of the permissions boundary that settings want on roles; "" for none
	extra        map[string]string // tags that settings and the part want on everything

	secrets sdk.Secrets
	mu      *sync.Mutex
	made    map[string]map[string]string // outputs of this part's kinds that are done, by kind
}

// name is the deterministic name of a thing of this part: see owner.name.
func (s *session) name(most int) string { return s.owner.name(most) }

// tags are all that a thing of this part is marked with: Berth's own, which win,
// and those that settings and the part ask for.
func (s *session) tags() map[string]string {
	out := maps.Clone(s.extra)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, s.owner.tags())
	return out
}

// refuse is owner.refuse for the session's owner.
func (s *session) refuse(title string, tags map[string]string) error {
	return s.owner.refuse(title, tags)
}

// mine tells whether tags are those of the session's owner.
func (s *session) mine(tags map[string]string) bool { return tagsOwner(tags).is(s.owner) }

// ours tells whether list should tell of what has such tags: all of the owner's
// installation when no environment is asked for, and otherwise the owner's alone.
func (s *session) ours(tags map[string]string) bool {
	o := tagsOwner(tags)
	if s.owner.app == "" {
		return o.known() && o.installation == s.owner.installation
	}
	return o.is(s.owner)
}

// outputOf is what another kind of the same part told, for a kind that names it
// in `after`. It is "" while that is not there yet, as in the plan of a first
// deploy.
func (s *session) outputOf(kind, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[kind][key]
}

func (s *session) setOutputs(kind string, outputs map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[kind] = outputs
}

// value looks up a secret that settings refer to, and hides it in all that the
// call tells.
func (s *session) value(ctx context.Context, ref sdk.SecretRef) (string, error) {
	return s.secrets.Value(ctx, s.step, ref)
}

// accountID is the number of the account that the session acts in.
func (s *session) accountID(ctx context.Context) (string, error) {
	c := s.clients
	c.idMu.Lock()
	defer c.idMu.Unlock()
	if c.id != "" {
		return c.id, nil
	}
	out, err := sts.NewFromConfig(c.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	c.id = awssdk.ToString(out.Account)
	return c.id, nil
}

// clients are the SDK's clients for one place, each made when it is first used.
type clients struct {
	cfg awssdk.Config

	mu     sync.Mutex
	byName map[string]any

	idMu sync.Mutex
	id   string
}

// clientOf is the client of a service, made once for each place:
//
//	func (s *session) rds() *rds.Client {
//		return clientOf(s, "rds", func(c awssdk.Config) *rds.Client { return rds.NewFromConfig(c) })
//	}
func clientOf[C any](s *session, service string, fresh func(awssdk.Config) C) C {
	c := s.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.byName[service].(C); ok {
		return known
	}
	made := fresh(c.cfg)
	c.byName[service] = made
	return made
}

// newClients gets ready for a place; it reaches out for nothing.
func (x *Executor) newClients(ctx context.Context, at place, endpoint string) (*clients, error) {
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(at.region),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(x.o.CallTimeout)),
		config.WithRetryer(x.o.Retryer),
		config.WithAppID("berth"),
	)
	if err != nil {
		return nil, sdk.Invalid("The aws executor's configuration cannot be read: %v. Check AWS_PROFILE and the files that it means.", clip(err.Error(), 300))
	}
	if x.o.Transport != nil {
		cfg.HTTPClient = &http.Client{Transport: x.o.Transport, Timeout: x.o.CallTimeout}
	}
	if endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	if at.role != "" {
		provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), at.role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "berth"
			if at.externalID != "" {
				o.ExternalID = &at.externalID
			}
		})
		cfg.Credentials = awssdk.NewCredentialsCache(provider)
	}
	return &clients{cfg: cfg, byName: map[string]any{}}, nil
}

// patient is the SDK's standard retryer with more patience: throttling, 5xx and
// broken connections are tried again after pauses that double, up to 20 s, and are
// cut at random, so that environments which were throttled together do not come
// back together. The SDK's quota of retries is off: one client works for all
// environments of a region, and the bad luck of one should not take the others'
// tries away. The SDK's adaptive mode would be worse for the same reason. It holds
// back every call of the client for one that was throttled, reads included, and who
// waits there waits in no order.
func patient() awssdk.Retryer {
	const tries, most = 10, 20 * time.Second
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = tries, most, ratelimit.None
	})
}

// at is the clients for a place, made once.
func (x *Executor) at(ctx context.Context, where place, endpoint string) (*clients, error) {
	key := strings.Join([]string{where.region, where.role, where.externalID, endpoint}, " ")
	x.mu.Lock()
	defer x.mu.Unlock()
	if c, ok := x.places[key]; ok {
		return c, nil
	}
	c, err := x.newClients(ctx, where, endpoint)
	if err != nil {
		return nil, err
	}
	x.places[key] = c
	return c, nil
}

// session is one for step's part in a place.
func (x *Executor) session(ctx context.Context, step sdk.Step, p platform, a asked, where place) (*session, error) {
	c, err := x.at(ctx, where, p.Endpoint)
	if err != nil {
		return nil, err
	}
	retain, err := readRetain(a.retain, retention{})
	if err != nil {
		return nil, err
	}
	return &session{
		clients: c, place: where, owner: stepOwner(step), step: step, log: x.o.Log, now: x.o.Clock,
		retain: retain, known: len(a.kinds) > 0, boundary: p.Boundary, capabilities: p.Capabilities, extra: a.tags,
		secrets: sdk.Secrets{Getenv: x.o.Getenv}, mu: new(sync.Mutex), made: map[string]map[string]string{},
	}, nil
}

// tagList makes a service's tags of a map, in the order of their keys:
//
//	tagList(s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
func tagList[T any](tags map[string]string, one func(key, value *string) T) []T {
	out := make([]T, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		out = append(out, one(&key, &value))
	}
	return out
}

// tagMap is the other way round.
func tagMap[T any](list []T, one func(T) (key, value *string)) map[string]string {
	out := make(map[string]string, len(list))
	for _, t := range list {
		key, value := one(t)
		out[cmp.Or(awssdk.ToString(key), "")] = awssdk.ToString(value)
	}
	return out
}
