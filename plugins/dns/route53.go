package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// route53Region is where the one API of Route 53 of the standard partition is.
	// Source: https://docs.aws.amazon.com/general/latest/gr/r53.html
	route53Region = "us-east-1"
	// route53Attempts is how often a call is tried: five requests a second is all
	// that an account has, so that throttling is the ordinary case.
	// Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html
	route53Attempts = 12
	// route53Answer is how long one answer may take.
	route53Answer = time.Minute
	// route53Page is how many RRsets are asked for at once; 300 is the most.
	route53Page = 300
	// route53Near is how many are asked for to see what is at one name and just
	// below it.
	route53Near = 20
	// insyncPoll is how long to wait before asking again whether all of Route 53's
	// servers have a change, at first and at most.
	insyncPoll, insyncPollMost = 500 * time.Millisecond, 8 * time.Second
)

// route53Zone is a hosted zone. A change batch happens as a whole, or, when what
// it takes away is no longer as it was read or what it makes is there, not at all.
type route53Zone struct {
	api    *route53.Client
	id     string
	zone   string
	insync time.Duration // how long to wait for all servers
	poll   time.Duration // how long before they are asked for again, at first
}

var _ provider = (*route53Zone)(nil)

// newRoute53 makes the provider of z, with the executor's own AWS credentials or
// the role of the settings.
func newRoute53(ctx context.Context, x *Executor, z zoneSettings) (*route53Zone, error) {
	s := z.route53
	x.clientsMu.Lock()
	defer x.clientsMu.Unlock()
	api := x.clients[*s]
	if api == nil {
		cfg, err := config.LoadDefaultConfig(ctx,
			config.WithRegion(cmp.Or(s.Region, route53Region)),
			config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(route53Answer)), // it takes AWS_CA_BUNDLE
			config.WithAppID("berth"),
			config.WithRetryer(func() aws.Retryer {
				return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
					o.StandardOptions = append(o.StandardOptions, func(o *retry.StandardOptions) {
						o.MaxAttempts = route53Attempts
						// A zone that another change is being made in is free in a moment.
						o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{"PriorRequestNotComplete": {}}})
					})
				})
			}))
		if err != nil {
			return nil, sdk.Invalid("The dns executor's AWS configuration cannot be read: check AWS_PROFILE and the files that it means: %w", err)
		}
		if s.Endpoint != "" {
			cfg.BaseEndpoint = &s.Endpoint
		}
		if s.Role != "" {
			cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.Role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "berth" }))
		}
		api = route53.NewFromConfig(cfg)
		x.clients[*s] = api
	}
	return &route53Zone{api: api, id: strings.TrimPrefix(s.ZoneID, "/hostedzone/"), zone: z.name, insync: max(z.wait, time.Minute), poll: x.insyncPoll}, nil
}

// read implements provider. One page of the zone's order often holds a name and
// the mark below it.
func (p *route53Zone) read(ctx context.Context, keys []key) (map[key]*rrset, error) {
	wanted := map[key]bool{}
	var names []string
	for _, k := range keys {
		wanted[k] = true
		names = append(names, k.name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(reversed(a), reversed(b)) })
	names = slices.Compact(names)
	found := map[key]*rrset{}
	for len(names) > 0 {
		sets, upto, err := p.at(ctx, names[0])
		if err != nil {
			return nil, err
		}
		for _, s := range sets {
			if wanted[s.key] {
				found[s.key] = s
			}
		}
		names = names[1:]
		for len(names) > 0 && reversed(names[0]) < upto && !strings.HasPrefix(names[0], "*.") {
			names = names[1:] // it was within the page
		}
	}
	return found, nil
}

// at is all that is at name, with what follows in the zone's order up to where
// the answer ends. Upto is that place, as reversed has it.
func (p *route53Zone) at(ctx context.Context, name string) (sets []*rrset, upto string, err error) {
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: &p.id, StartRecordName: aws.String(name + "."), MaxItems: aws.Int32(route53Near)}
	var all []types.ResourceRecordSet
	for {
		page, err := p.api.ListResourceRecordSets(ctx, in)
		if err != nil {
			return nil, "", err
		}
		all = append(all, page.ResourceRecordSets...)
		if !page.IsTruncated {
			return gather(all), "\xff", nil
		}
		next := route53Name(aws.ToString(page.NextRecordName))
		if next != name {
			return gather(all), reversed(next), nil
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = page.NextRecordName, page.NextRecordType, page.NextRecordIdentifier
	}
}

// reversed is name as Route 53 sorts by it: with its labels from the last to the
// first. Source: the API reference, ListResourceRecordSets.
func reversed(name string) string {
	labels := strings.Split(name, ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

// gather makes RRsets of what the API lists; several with one name and type, such
// as weighted ones, become one.
func gather(list []types.ResourceRecordSet) []*rrset {
	var out []*rrset
	byKey := map[key]*rrset{}
	for _, r := range list {
		kind := recordType(r.Type)
		if !slices.Contains(recordTypes, kind) {
			continue
		}
		k := key{route53Name(aws.ToString(r.Name)), kind}
		s := byKey[k]
		if s == nil {
			s = &rrset{key: k, ttl: uint32(min(max(aws.ToInt64(r.TTL), 0), maxTTL*1000)), native: []types.ResourceRecordSet(nil)}
			byKey[k], out = s, append(out, s)
		}
		s.native = append(s.native.([]types.ResourceRecordSet), r)
		if r.AliasTarget != nil {
			s.values = append(s.values, "alias of "+aws.ToString(r.AliasTarget.DNSName))
		}
		for _, v := range r.ResourceRecords {
			s.values = append(s.values, fromPresentation(kind, aws.ToString(v.Value), 8))
		}
		slices.Sort(s.values)
	}
	return out
}

// route53Name is a name of the API, which escapes what is not a letter, a digit,
// "-" or "_", in octal. Source: the developer guide, "DNS domain name format".
func route53Name(name string) string { return plainName(unescapeBase(name, 8)) }

// others implements provider.
func (p *route53Zone) others(ctx context.Context, name string) ([]string, error) {
	out := map[string]bool{}
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: &p.id, StartRecordName: aws.String(name + "."), MaxItems: aws.Int32(route53Near)}
	page, err := p.api.ListResourceRecordSets(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, r := range page.ResourceRecordSets {
		if route53Name(aws.ToString(r.Name)) == name && !slices.Contains(recordTypes, recordType(r.Type)) {
			out[string(r.Type)] = true
		}
	}
	return sorted(out), nil
}

// apply implements provider with one change batch. What is only a condition is
// taken away and made again in it, which the servers never see.
func (p *route53Zone) apply(ctx context.Context, changes []change) error {
	if !slices.ContainsFunc(changes, change.writes) {
		return nil
	}
	var deletes, creates []types.Change
	for _, c := range changes {
		if native, ok := beforeOf(c).([]types.ResourceRecordSet); ok && (c.writes() || c.mark) {
			for _, r := range native {
				deletes = append(deletes, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: &r})
				if !c.writes() {
					creates = append(creates, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: &r})
				}
			}
		}
		if c.writes() && c.after != nil {
			creates = append(creates, types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: toRoute53(c.after)})
		}
	}
	out, err := p.api.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &p.id, ChangeBatch: &types.ChangeBatch{Changes: append(deletes, creates...), Comment: aws.String("Berth")},
	})
	if bad, ok := errors.AsType[*types.InvalidChangeBatch](err); ok && batchMoved(bad) {
		return errMoved
	}
	if err != nil {
		return err
	}
	return p.awaitInsync(ctx, out.ChangeInfo)
}

func beforeOf(c change) any {
	if c.before == nil {
		return nil
	}
	return c.before.native
}

// batchMoved tells whether a batch was refused because the zone is not as it was read.
// The API says so in words alone.
func batchMoved(e *types.InvalidChangeBatch) bool {
	text := strings.Join(append(slices.Clone(e.Messages), aws.ToString(e.Message)), " ")
	for _, words := range []string{"already exists", "not found", "do not match", "conflicts with other records"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// awaitInsync returns when all of Route 53's servers have a change.
func (p *route53Zone) awaitInsync(ctx context.Context, info *types.ChangeInfo) error {
	deadline, cancel := context.WithTimeout(ctx, p.insync)
	defer cancel()
	for pause := p.poll; info != nil && info.Status != types.ChangeStatusInsync; pause = min(2*pause, insyncPollMost) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-deadline.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return sdk.Downstream("Route 53 has not brought the change of %s to all of its servers after %s. Try again.", p.zone, p.insync).WithRetry()
		}
		out, err := p.api.GetChange(ctx, &route53.GetChangeInput{Id: aws.String(strings.TrimPrefix(aws.ToString(info.Id), "/change/"))})
		if err != nil {
			return err
		}
		info = out.ChangeInfo
	}
	return nil
}

// toRoute53 is s as the API takes it.
func toRoute53(s *rrset) *types.ResourceRecordSet {
	r := &types.ResourceRecordSet{Name: aws.String(s.name + "."), Type: types.RRType(s.kind), TTL: aws.Int64(int64(s.ttl))}
	for _, v := range s.values {
		r.ResourceRecords = append(r.ResourceRecords, types.ResourceRecord{Value: aws.String(toPresentation(s.kind, v, 8))})
	}
	return r
}

// servers implements provider.
func (p *route53Zone) servers(ctx context.Context) ([]server, error) {
	out, err := p.api.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: &p.id})
	if err != nil {
		return nil, err
	}
	if at := plainName(aws.ToString(out.HostedZone.Name)); at != p.zone {
		return nil, sdk.Invalid("The hosted zone %s of Route 53 is %s, not %s: correct `zone_id` in the settings of the dns executor.", p.id, at, p.zone)
	}
	var names []string
	if out.DelegationSet != nil {
		names = out.DelegationSet.NameServers
	}
	return hostServers(names), nil
}

// hostServers are name servers by their names alone, in the order of these: a
// provider lists them in another one each time.
func hostServers(names []string) []server {
	var out []server
	for _, name := range slices.Sorted(slices.Values(names)) {
		out = append(out, server{name: plainName(name), address: net.JoinHostPort(plainName(name), dnsPort)})
	}
	return out
}

// negative implements provider.
func (p *route53Zone) negative(ctx context.Context) (time.Duration, error) {
	page, err := p.api.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: &p.id, StartRecordName: aws.String(p.zone + "."), StartRecordType: types.RRTypeSoa, MaxItems: aws.Int32(1),
	})
	if err != nil {
		return 0, err
	}
	for _, r := range page.ResourceRecordSets {
		if r.Type != types.RRTypeSoa || len(r.ResourceRecords) == 0 {
			continue
		}
		fields := strings.Fields(aws.ToString(r.ResourceRecords[0].Value))
		if minimum, err := strconv.ParseInt(fields[len(fields)-1], 10, 32); err == nil {
			return time.Duration(min(minimum, aws.ToInt64(r.TTL))) * time.Second, nil
		}
	}
	return 0, fmt.Errorf("the hosted zone %s has no SOA record", p.id)
}

// list implements provider.
func (p *route53Zone) list(ctx context.Context) ([]*rrset, error) {
	var all []types.ResourceRecordSet
	in := &route53.ListResourceRecordSetsInput{HostedZoneId: &p.id, MaxItems: aws.Int32(route53Page)}
	for {
		page, err := p.api.ListResourceRecordSets(ctx, in)
		if err != nil {
			return nil, err
		}
		all = append(all, page.ResourceRecordSets...)
		if !page.IsTruncated {
			return gather(all), nil
		}
		in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = page.NextRecordName, page.NextRecordType, page.NextRecordIdentifier
	}
}

// explainRoute53 is what an error of AWS means, nil for any other.
func explainRoute53(err error) *sdk.Error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		if _, ok := errors.AsType[*smithy.OperationError](err); ok {
			return sdk.Downstream("AWS cannot be asked for Route 53: %s. Check the network and the executor's AWS credentials.", networkCause(err)).WithRetry()
		}
		return nil
	}
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err}
	switch code := api.ErrorCode(); code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		e.Msg = "AWS does not let Berth change the zone: give the executor's role the rights that the page on DNS lists for Route 53."
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException", "IncompleteSignature":
		e.Msg = "AWS does not accept the dns executor's credentials: they are wrong or have expired."
	case "NoSuchHostedZone":
		e.Msg = "Route 53 has no such hosted zone: correct `zone_id` in the settings of the dns executor."
	case "Throttling", "ThrottlingException", "PriorRequestNotComplete", "ServiceUnavailable", "InternalFailure":
		e.Msg, e.Retry = "Route 53 has too much to do just now. Try again.", true
	case "InvalidChangeBatch", "InvalidInput":
		e.Msg = "Route 53 does not take the records: " + quoted(api.ErrorMessage()) + "."
	default:
		e.Msg = fmt.Sprintf("Route 53 refused (%s): %s.", clip(code), quoted(api.ErrorMessage()))
		e.Retry = api.ErrorFault() == smithy.FaultServer
	}
	return e
}
