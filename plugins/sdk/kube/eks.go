package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"golang.org/x/sync/singleflight"
	"k8s.io/client-go/rest"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// eksToken begins the tokens that EKS takes, and eksHeader, which is signed with
	// them, names the cluster that a token is for.
	// Source: https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
	eksToken  = "k8s-aws-v1." //nolint:gosec // How all of them begin.
	eksHeader = "X-K8s-Aws-Id"
	// eksExpires is how long a presigned request may be used at STS, in seconds. The
	// token itself is taken for a quarter of an hour.
	eksExpires = "60"
	// tokenFor is how long a token is used before there is a new one.
	tokenFor = 10 * time.Minute
	// describedFor is how long a cluster's address and certificate are believed.
	describedFor = time.Hour
	// emptyPayload is the SHA-256 of nothing, which a GET request has.
	emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// eksTransport finds a cluster of EKS and signs in to it, with the AWS account of
// the executor's environment. It is asked for requests to any host and sends them
// to the cluster. It is safe for concurrent use.
type eksTransport struct {
	at   sdk.Cluster
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	now  func() time.Time

	asking singleflight.Group
	mu     sync.Mutex
	aws    *aws.Config // with the credentials of the role; nil until it is asked for
	to     *eksAddress
	token  string
	signed time.Time // when the token was
}

// eksAddress is where a cluster is, and how it proves that.
type eksAddress struct {
	url       *url.URL
	base      http.RoundTripper
	described time.Time
}

// newEKS reaches out to nothing.
func newEKS(at sdk.Cluster, dial func(context.Context, string, string) (net.Conn, error)) (*eksTransport, error) {
	if at.EKS.Name == "" {
		return nil, sdk.Invalid("%s needs `name` under `eks`: what the cluster is called in EKS.", ClusterName(at))
	}
	if at.EKS.Region == "" {
		return nil, sdk.Invalid("%s needs `region` under `eks`, such as eu-central-1.", ClusterName(at))
	}
	if at.Kubeconfig != "" {
		return nil, sdk.Invalid("%s has both `kubeconfig` and `eks`: leave one of them out.", ClusterName(at))
	}
	return &eksTransport{at: at, dial: dial, now: time.Now}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *eksTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	to, token, err := t.way(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	out := req.Clone(req.Context())
	out.URL.Scheme, out.URL.Host, out.Host = to.url.Scheme, to.url.Host, to.url.Host
	out.Header.Set("Authorization", "Bearer "+token)
	resp, err := to.base.RoundTrip(out)
	switch {
	case err != nil && req.Context().Err() == nil:
		t.forget(to, "") // it may have another address by now, or another certificate
	case err == nil && resp.StatusCode == http.StatusUnauthorized:
		t.forget(nil, token)
	}
	return resp, err
}

// CloseIdleConnections lets unused connections go.
func (t *eksTransport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.to != nil {
		closeIdle(t.to.base)
	}
}

// forget makes the next request ask anew for what did not work.
func (t *eksTransport) forget(to *eksAddress, token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to != nil && t.to == to {
		t.to = nil
	}
	if token != "" && t.token == token {
		t.token = ""
	}
}

// way is where the cluster is, and a token for it.
func (t *eksTransport) way(ctx context.Context) (*eksAddress, string, error) {
	t.mu.Lock()
	to, token, now := t.to, t.token, t.now()
	if to != nil && now.Sub(to.described) >= describedFor {
		to = nil
	}
	if now.Sub(t.signed) >= tokenFor {
		token = ""
	}
	t.mu.Unlock()
	if to != nil && token != "" {
		return to, token, nil
	}
	type found struct {
		to    *eksAddress
		token string
	}
	// Requests at the same time share one answer, which ends with none of them.
	answers := t.asking.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		to, token, err := t.find(ctx, to, token)
		return found{to, token}, err
	})
	select {
	case <-ctx.Done():
		return nil, "", ctx.Err()
	case a := <-answers:
		f, _ := a.Val.(found)
		return f.to, f.token, a.Err
	}
}

// find fills in what is missing of address and token.
func (t *eksTransport) find(ctx context.Context, to *eksAddress, token string) (*eksAddress, string, error) {
	cfg, err := t.config(ctx)
	if err != nil {
		return nil, "", err
	}
	signed := t.now()
	if token == "" {
		if token, err = t.sign(ctx, cfg, signed); err != nil {
			return nil, "", err
		}
		t.mu.Lock()
		t.token, t.signed = token, signed
		t.mu.Unlock()
	}
	if to == nil {
		if to, err = t.describe(ctx, cfg); err != nil {
			return nil, "", err
		}
		t.mu.Lock()
		t.to = to
		t.mu.Unlock()
	}
	return to, token, nil
}

// config is the AWS account, in the role that the cluster wants.
func (t *eksTransport) config(ctx context.Context) (*aws.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.aws != nil {
		return t.aws, nil
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(t.at.EKS.Region))
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: ClusterName(t.at) + " is one of EKS, and the executor's AWS account cannot be used: check the variables and files that `env` of the plugin passes on.", Err: err}
	}
	if role := t.at.EKS.Role; role != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "berth"
		}))
	}
	t.aws = &cfg
	return t.aws, nil
}

// sign makes a token: a request to STS that says who somebody is, signed for
// whoever has the token to send, and for no other cluster.
func (t *eksTransport) sign(ctx context.Context, cfg *aws.Config, at time.Time) (string, error) {
	creds, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", t.refused(err, "sign in to")
	}
	resolved, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sts.EndpointParameters{Region: aws.String(t.at.EKS.Region)})
	if err != nil {
		return "", &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("%s is in region %q, which AWS does not have: correct `region` under `eks`.", ClusterName(t.at), Clip(t.at.EKS.Region, 40)), Err: err}
	}
	where := resolved.URI
	where.Path = "/"
	where.RawQuery = url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}, "X-Amz-Expires": {eksExpires}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return "", sdk.Internal("The cluster's token cannot be made: %w", err)
	}
	req.Header.Set(eksHeader, t.at.EKS.Name)
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, creds, req, emptyPayload, "sts", t.at.EKS.Region, at)
	if err != nil {
		return "", sdk.Internal("The cluster's token cannot be made: %w", err)
	}
	return eksToken + base64.RawURLEncoding.EncodeToString([]byte(signed)), nil
}

// describe asks EKS where the cluster is.
func (t *eksTransport) describe(ctx context.Context, cfg *aws.Config) (*eksAddress, error) {
	got, err := eks.NewFromConfig(*cfg).DescribeCluster(ctx, &eks.DescribeClusterInput{Name: aws.String(t.at.EKS.Name)})
	if err != nil {
		return nil, t.refused(err, "look up")
	}
	cluster := got.Cluster
	if cluster == nil || aws.ToString(cluster.Endpoint) == "" || cluster.CertificateAuthority == nil {
		state := "not ready"
		if cluster != nil && cluster.Status != "" {
			state = strings.ToLower(string(cluster.Status))
		}
		return nil, sdk.Downstream("%s has no address yet: EKS says that it is %s. Try again when it is active.", ClusterName(t.at), Clip(state, 40)).WithRetry()
	}
	where, err := url.Parse(aws.ToString(cluster.Endpoint))
	authority, caErr := base64.StdEncoding.DecodeString(aws.ToString(cluster.CertificateAuthority.Data))
	if err != nil || caErr != nil || where.Scheme != "https" || where.Host == "" {
		return nil, sdk.Downstream("EKS describes %s with an address or certificate that cannot be used.", lowerFirst(ClusterName(t.at)))
	}
	base, err := rest.TransportFor(&rest.Config{Host: where.String(), Dial: t.dial, TLSClientConfig: rest.TLSClientConfig{CAData: authority}})
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultDownstream, Msg: "EKS describes " + lowerFirst(ClusterName(t.at)) + " with a certificate that cannot be used.", Err: err}
	}
	return &eksAddress{url: where, base: base, described: t.now()}, nil
}

// refused says why AWS did not do what was wanted.
func (t *eksTransport) refused(err error, what string) error {
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: redacted(err)}
	name := fmt.Sprintf("the EKS cluster %q in %s", Clip(t.at.EKS.Name, 100), Clip(t.at.EKS.Region, 40))
	as := ""
	if t.at.EKS.Role != "" {
		as = " in the role " + Clip(t.at.EKS.Role, 200)
	}
	refusal, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		if cause := NetworkCause(err); cause != "" {
			e.Msg, e.Retry = "AWS cannot be reached to "+what+" "+name+": "+cause+". Check the network of Berth's machine.", true
			return e
		}
		e.Fault = sdk.FaultInvalid
		e.Msg = "Berth has no AWS account to " + what + " " + name + as + ": name AWS_PROFILE, AWS_ACCESS_KEY_ID or what else it is found by in `env` of the plugin, and check that it is right."
		return e
	}
	switch code := refusal.ErrorCode(); {
	case code == "ResourceNotFoundException":
		e.Fault = sdk.FaultInvalid
		e.Msg = "AWS knows no " + strings.TrimPrefix(name, "the ") + as + ": check `name` and `region` under `eks`, and that the account is the right one."
	case strings.Contains(code, "AccessDenied"):
		e.Msg = "AWS does not let Berth " + what + " " + name + as + ". Grant its account eks:DescribeCluster on it, and let it assume the role where there is one."
	case strings.Contains(code, "ExpiredToken"), strings.Contains(code, "InvalidClientTokenId"), strings.Contains(code, "UnrecognizedClient"), strings.Contains(code, "SignatureDoesNotMatch"):
		e.Msg = "AWS does not accept Berth's credentials for " + name + as + " (" + Clip(code, 60) + "): they are wrong or have expired."
	default:
		e.Msg, e.Retry = "AWS could not "+what+" "+name+as+" just now ("+Clip(code, 60)+"). Try again.", true
	}
	return e
}

// lowerFirst is a sentence's beginning inside of one.
func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
