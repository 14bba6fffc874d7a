package kube

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// amazon is as much of AWS as a cluster of EKS needs: the API of EKS, STS for
// roles, and an API server that takes EKS' tokens alone, before the tests' own.
type amazon struct {
	mu       sync.Mutex
	keys     map[string]string // secret keys by access key
	skew     time.Duration     // how much later it is than in this process
	status   string            // of the cluster
	asked    []string          // "describe", "assume", "api"
	tokens   []string          // that were shown, each once
	refusals []string          // why tokens were refused
	denies   string            // the error code with which EKS answers; "" for none
	api      *httptest.Server
}

const (
	eksRegion = "eu-central-1"
	eksName   = "preview"
	eksRole   = "arn:aws:iam::123456789012:role/berth"
)

func newAmazon(t *testing.T) *amazon {
	t.Helper()
	a := &amazon{keys: map[string]string{"AKIAEXAMPLE": "secret/of+the+account"}, status: "ACTIVE"}
	transport, host := clustertest.API(t)
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(host)
		r.Out.Header.Del("Authorization")
	}}
	a.api = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.admit(r); err != nil {
			a.note(&a.refusals, err.Error())
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		a.note(&a.asked, "api")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(a.api.Close)
	control := httptest.NewServer(http.HandlerFunc(a.control))
	t.Cleanup(control.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/of+the+account", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL_EKS": control.URL, "AWS_ENDPOINT_URL_STS": control.URL, "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	return a
}

func (a *amazon) note(in *[]string, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*in = append(*in, what)
}

func (a *amazon) count(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, one := range a.asked {
		if one == what {
			n++
		}
	}
	return n
}

// control answers for EKS and STS.
func (a *amazon) control(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	denies, status := a.denies, a.status
	a.mu.Unlock()
	scope := "/" + eksRegion + "/"
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/" && strings.Contains(r.Header.Get("Authorization"), scope+"sts/aws4_request"):
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" || r.Form.Get("RoleArn") != eksRole || r.Form.Get("RoleSessionName") != "berth" {
			http.Error(w, "not so", http.StatusBadRequest)
			return
		}
		a.note(&a.asked, "assume")
		a.mu.Lock()
		a.keys["ASIAROLE"] = "secret/of+the+role"
		a.mu.Unlock()
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROA:berth</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>secret/of+the+role</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			eksRole, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	case r.Method == http.MethodGet && r.URL.Path == "/clusters/"+eksName && denies == "" && strings.Contains(r.Header.Get("Authorization"), scope+"eks/aws4_request"):
		a.note(&a.asked, "describe")
		cluster := map[string]any{"name": eksName, "status": status}
		if status == "ACTIVE" {
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.api.Certificate().Raw})
			cluster["endpoint"], cluster["certificateAuthority"] = a.api.URL, map[string]any{"data": base64.StdEncoding.EncodeToString(ca)}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"cluster": cluster})
	default:
		if denies == "" {
			denies = "ResourceNotFoundException"
		}
		w.Header().Set("X-Amzn-Errortype", denies)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"message":"No."}`))
	}
}

// admit is as strict about a token as aws-iam-authenticator is, and checks the
// signature as STS does.
// Source: https://github.com/kubernetes-sigs/aws-iam-authenticator/blob/master/pkg/token/token.go, Verify.
func (a *amazon) admit(r *http.Request) error {
	coded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer k8s-aws-v1.")
	if !ok {
		return errors.New("no token of EKS")
	}
	text, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil {
		return err
	}
	u, err := url.Parse(string(text))
	if err != nil {
		return err
	}
	q := u.Query()
	want := map[string]string{
		"Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host;x-k8s-aws-id",
	}
	if u.Scheme != "https" || u.Host != "sts."+eksRegion+".amazonaws.com" || u.Path != "/" {
		return fmt.Errorf("it is for %s://%s%s", u.Scheme, u.Host, u.Path)
	}
	for name, value := range want {
		if q.Get(name) != value {
			return fmt.Errorf("%s is %q", name, q.Get(name))
		}
	}
	for name, values := range q {
		if len(values) != 1 || want[name] == "" && !slices.Contains([]string{"X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "X-Amz-Security-Token"}, name) {
			return fmt.Errorf("it has %s", name)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	signed, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	if age := time.Now().Add(a.skew).Sub(signed); err != nil || age < -5*time.Minute || age > 15*time.Minute {
		return fmt.Errorf("it is %s old", age)
	}
	credential := strings.SplitN(q.Get("X-Amz-Credential"), "/", 2)
	day := signed.Format("20060102")
	if len(credential) != 2 || credential[1] != day+"/"+eksRegion+"/sts/aws4_request" || a.keys[credential[0]] == "" {
		return fmt.Errorf("the credential is %q", q.Get("X-Amz-Credential"))
	}
	if (credential[0] == "ASIAROLE") != (q.Get("X-Amz-Security-Token") == "session") {
		return errors.New("the session's token is missing, or too much")
	}
	given := q.Get("X-Amz-Signature")
	q.Del("X-Amz-Signature")
	canonical := strings.Join([]string{"GET", "/", strings.ReplaceAll(q.Encode(), "+", "%20"), "host:" + u.Host, "x-k8s-aws-id:" + eksName, "", "host;x-k8s-aws-id", emptyPayload}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + a.keys[credential[0]])
	for _, part := range []string{day, eksRegion, "sts", "aws4_request", "AWS4-HMAC-SHA256\n" + q.Get("X-Amz-Date") + "\n" + credential[1] + "\n" + hex.EncodeToString(sum[:])} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	if hex.EncodeToString(key) != given {
		return errors.New("the signature is wrong, or is for another cluster")
	}
	if !slices.Contains(a.tokens, coded) {
		a.tokens = append(a.tokens, coded)
	}
	return nil
}

func eksCluster(role string) sdk.Cluster {
	return sdk.Cluster{Name: "prod", EKS: &sdk.EKS{Name: eksName, Region: eksRegion, Role: role}}
}

func listNamespaces(ctx context.Context, c *Cluster) error {
	if _, err := c.Reach(ctx); err != nil {
		return err
	}
	_, err := c.Clientset().CoreV1().Namespaces().List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

func TestAClusterOfEKS(t *testing.T) {
	for name, role := range map[string]string{"with the account's own rights": "", "in a role": eksRole} {
		t.Run(name, func(t *testing.T) {
			a := newAmazon(t)
			c := open(t, eksCluster(role))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := listNamespaces(t.Context(), c); err != nil {
						t.Error(err, a.refusals)
					}
				})
			}
			wg.Wait()
			if a.count("describe") != 1 || len(a.tokens) != 1 || a.count("assume") != len(role)/max(len(role), 1) {
				t.Errorf("EKS was asked %v, with %d tokens", a.asked, len(a.tokens))
			}
			w, err := c.Clientset().CoreV1().Namespaces().Watch(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := <-w.ResultChan(); !ok {
				t.Error("a watch through EKS ended at once")
			}
			w.Stop()
		})
	}
}

func TestATokenForEKSIsRenewedInTime(t *testing.T) {
	a := newAmazon(t)
	c := open(t, eksCluster(""))
	transport, ok := c.base.(*eksTransport)
	if !ok {
		t.Fatal("no transport of EKS")
	}
	var late time.Duration
	transport.now = func() time.Time { return time.Now().Add(late) }
	for i, at := range []time.Duration{0, 9 * time.Minute, 14 * time.Minute, 23 * time.Minute, 25 * time.Minute} {
		late, a.skew = at, at
		if err := listNamespaces(t.Context(), c); err != nil {
			t.Fatalf("after %s: %v %v", at, err, a.refusals)
		}
		if want := []int{1, 1, 2, 2, 3}[i]; len(a.tokens) != want {
			t.Errorf("after %s there were %d tokens, want %d", at, len(a.tokens), want)
		}
	}
	if a.count("describe") != 1 {
		t.Errorf("EKS was asked %d times where the cluster is", a.count("describe"))
	}
	late, a.skew = 2*time.Hour, 2*time.Hour
	if err := listNamespaces(t.Context(), c); err != nil || a.count("describe") != 2 {
		t.Errorf("after two hours: %v, asked %d times", err, a.count("describe"))
	}
}

func TestAClusterOfEKSThatCannotBeUsed(t *testing.T) {
	for name, tt := range map[string]struct {
		at     sdk.EKS
		before func(*testing.T, *amazon)
		want   string
		fault  sdk.Fault
	}{
		"no region": {at: sdk.EKS{Name: eksName}, want: "needs `region`", fault: sdk.FaultInvalid},
		"no name":   {at: sdk.EKS{Region: eksRegion}, want: "needs `name`", fault: sdk.FaultInvalid},
		"a cluster that is not there": {
			at: sdk.EKS{Name: "other", Region: eksRegion}, want: `no EKS cluster "other" in eu-central-1`, fault: sdk.FaultInvalid,
		},
		"an account that may not look": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(_ *testing.T, a *amazon) { a.denies = "AccessDeniedException" },
			want: "eks:DescribeCluster", fault: sdk.FaultDownstream,
		},
		"credentials that have expired": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(_ *testing.T, a *amazon) { a.denies = "ExpiredTokenException" },
			want: "have expired", fault: sdk.FaultDownstream,
		},
		"no account": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(t *testing.T, _ *amazon) {
				t.Setenv("AWS_ACCESS_KEY_ID", "")
				t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			},
			want: "Berth has no AWS account", fault: sdk.FaultInvalid,
		},
		"a cluster that is being made": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(_ *testing.T, a *amazon) { a.status = "CREATING" },
			want: "it is creating", fault: sdk.FaultDownstream,
		},
		"a cluster that takes other accounts": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(_ *testing.T, a *amazon) { a.keys = map[string]string{} },
			want: "does not accept Berth's credentials", fault: sdk.FaultDownstream,
		},
		"AWS away": {
			at: sdk.EKS{Name: eksName, Region: eksRegion}, before: func(t *testing.T, _ *amazon) { t.Setenv("AWS_ENDPOINT_URL_EKS", "http://127.0.0.1:1") },
			want: "AWS cannot be reached", fault: sdk.FaultDownstream,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAmazon(t)
			if tt.before != nil {
				tt.before(t, a)
			}
			at := sdk.Cluster{Name: "prod", EKS: &tt.at}
			c, err := NewClusters("t").Open(at)
			if err == nil {
				err = listNamespaces(t.Context(), c)
			}
			if err == nil {
				t.Fatal("it could be used")
			}
			e := Explain(err, at)
			if e.Fault != tt.fault || !strings.Contains(e.Msg, tt.want) {
				t.Errorf("%s: %s (%v)", e.Fault, e.Msg, e.Err)
			}
			if text := e.Error(); strings.Contains(text, "secret/of") || strings.Contains(text, "X-Amz-Signature") || strings.Contains(text, "k8s-aws-v1") {
				t.Errorf("it tells too much: %s", text)
			}
		})
	}
}
