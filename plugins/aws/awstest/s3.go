package awstest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// s3Server is gofakes3, with what it lacks around it: whose and where a bucket
// is, its tags and configurations, and AWS' rules for all of these.
type s3Server struct {
	s       *Server
	backend *s3mem.Backend
	fake    http.Handler
}

func newS3(s *Server) *s3Server {
	backend := s3mem.New()
	return &s3Server{s: s, backend: backend, fake: gofakes3.New(backend).Server()}
}

// bucketName is what a bucket may be called.
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
var (
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	ipAddress    = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
	badBucketEnd = []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"}
	badBucketTop = []string{"xn--", "sthree-", "amzn-s3-demo-"}
)

func validBucket(name string) bool {
	with := func(f func(string, string) bool) func(string) bool { return func(x string) bool { return f(name, x) } }
	return bucketName.MatchString(name) && !ipAddress.MatchString(name) && !strings.Contains(name, "..") &&
		!slices.ContainsFunc(badBucketEnd, with(strings.HasSuffix)) && !slices.ContainsFunc(badBucketTop, with(strings.HasPrefix))
}

// bucket is a bucket of any account: their names are everybody's.
func (s *Server) bucket(name string) *thing {
	for _, th := range s.pick(func(th *thing) bool { return th.service == "s3" && th.id == name }) {
		return th
	}
	return nil
}

// do does one call of S3. What is not about the bucket's own configuration,
// gofakes3 does.
func (x *s3Server) do(c *call) (params, *http.Response, *apiError) {
	name := c.in.str("Bucket")
	if c.op == "ListBuckets" {
		return x.list(c), nil, nil
	}
	if c.op == "CreateBucket" {
		return x.create(c, name)
	}
	th := x.s.bucket(name)
	switch {
	case th == nil:
		return nil, nil, fail("NoSuchBucket", "The specified bucket does not exist").withStatus(http.StatusNotFound)
	case th.account != c.account, c.in.has("ExpectedBucketOwner") && c.in.str("ExpectedBucketOwner") != th.account:
		return nil, nil, fail("AccessDenied", "Access Denied").withStatus(http.StatusForbidden)
	case th.region != c.region:
		return nil, nil, fail("PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.").withStatus(http.StatusMovedPermanently)
	}
	if conf, ok := bucketConfigs[strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(c.op, "Put"), "Get"), "Delete")]; ok {
		out, err := conf.do(c, th)
		return out, nil, err
	}
	res := x.pass(c)
	switch {
	case c.op == "DeleteBucket" && res.StatusCode < http.StatusMultipleChoices:
		x.s.drop(th)
	case c.op == "HeadBucket":
		res.Header.Set("X-Amz-Bucket-Region", th.region)
	}
	return nil, res, nil
}

// pass has gofakes3 do a call.
func (x *s3Server) pass(c *call) *http.Response {
	w := httptest.NewRecorder()
	r := c.raw.Clone(c.raw.Context())
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	if c.op == "DeleteBucket" && x.uploads(c) {
		return s3Failure(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty")
	}
	x.fake.ServeHTTP(w, r)
	return w.Result() // whoever answers closes its body
}

// uploads tells whether a bucket has uploads in parts: it is not empty then.
func (x *s3Server) uploads(c *call) bool {
	r := httptest.NewRequest(http.MethodGet, "/"+c.in.str("Bucket")+"?uploads", http.NoBody)
	w := httptest.NewRecorder()
	x.fake.ServeHTTP(w, r)
	return strings.Contains(w.Body.String(), "<UploadId>")
}

func s3Failure(status int, code, msg string) *http.Response {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(msg))
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: io.NopCloser(strings.NewReader(fmt.Sprintf("<Error><Code>%s</Code><Message>%s</Message></Error>", code, b.String()))),
	}
}

func (x *s3Server) list(c *call) params {
	list, where := []any{}, c.in.str("BucketRegion")
	got, next := page(x.s.pick(func(th *thing) bool {
		return th.service == "s3" && th.account == c.account && strings.HasPrefix(th.id, c.in.str("Prefix")) && (where == "" || where == th.region)
	}), c.in.str("ContinuationToken"), int(c.in.num("MaxBuckets")), x.s.opts.Page)
	for _, th := range got {
		list = append(list, params{"Name": th.id, "CreationDate": th.body["CreationDate"]})
	}
	out := params{"Buckets": list, "Owner": params{"ID": c.account}}
	if next != "" {
		out["ContinuationToken"] = next
	}
	return out
}

func (x *s3Server) create(c *call, name string) (params, *http.Response, *apiError) {
	where := c.in.sub("CreateBucketConfiguration").str("LocationConstraint")
	if where == "" {
		where = "us-east-1"
	}
	old := x.s.bucket(name)
	switch {
	case !validBucket(name):
		return nil, nil, fail("InvalidBucketName", "The specified bucket is not valid.")
	case where != c.region:
		return nil, nil, fail("IllegalLocationConstraintException", "The %s location constraint is incompatible for the region specific endpoint this request was sent to.", where)
	case c.region == "us-east-1" && c.in.has("CreateBucketConfiguration") && c.in.sub("CreateBucketConfiguration").has("LocationConstraint"):
		return nil, nil, fail("InvalidLocationConstraint", "The specified location-constraint is not valid")
	case old != nil && old.account != c.account:
		return nil, nil, fail("BucketAlreadyExists", "The requested bucket name is not available.").withStatus(http.StatusConflict)
	case old != nil && c.region != "us-east-1":
		return nil, nil, fail("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.").withStatus(http.StatusConflict)
	case old != nil: // the oldest region forgives it
		return params{"Location": "/" + name}, nil, nil
	}
	c.raw.Body = http.NoBody
	res := x.pass(c)
	if res.StatusCode == http.StatusOK {
		th := c.new("bucket", name, "arn:aws:s3:::"+name, tagsOf(c.in.sub("CreateBucketConfiguration"), "Tags"), params{"CreationDate": x.s.now()})
		th.body["PublicAccessBlock"] = params{"PublicAccessBlockConfiguration": params{"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true}}
		th.body["BucketEncryption"] = params{"ServerSideEncryptionConfiguration": params{"Rules": []any{params{"ApplyServerSideEncryptionByDefault": params{"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": false}}}}
	}
	return nil, res, nil
}

// bucketConfig is a configuration of a bucket that is put, got and deleted whole.
type bucketConfig struct {
	members []string // of what is put, in terms of the model
	missing *apiError
}

var bucketConfigs = map[string]bucketConfig{
	"BucketTagging":                {[]string{"Tagging"}, fail("NoSuchTagSet", "The TagSet does not exist").withStatus(404)},
	"BucketEncryption":             {[]string{"ServerSideEncryptionConfiguration"}, fail("ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found").withStatus(404)},
	"PublicAccessBlock":            {[]string{"PublicAccessBlockConfiguration"}, fail("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found").withStatus(404)},
	"BucketLifecycleConfiguration": {[]string{"LifecycleConfiguration"}, fail("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist").withStatus(404)},
	"BucketLifecycle":              {nil, nil}, // DeleteBucketLifecycle
	"BucketOwnershipControls":      {[]string{"OwnershipControls"}, fail("OwnershipControlsNotFoundError", "The bucket ownership controls were not found").withStatus(404)},
	"BucketCors":                   {[]string{"CORSConfiguration"}, fail("NoSuchCORSConfiguration", "The CORS configuration does not exist").withStatus(404)},
}

func (conf bucketConfig) do(c *call, th *thing) (params, *apiError) {
	key := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(c.op, "Put"), "Get"), "Delete")
	if key == "BucketLifecycle" {
		key = "BucketLifecycleConfiguration"
	}
	switch {
	case strings.HasPrefix(c.op, "Delete"):
		delete(th.body, key)
		if key == "BucketTagging" {
			clear(th.tags)
		}
		return nil, nil
	case strings.HasPrefix(c.op, "Put"):
		return nil, conf.put(c, th, key)
	case key == "BucketTagging":
		if len(th.tags) == 0 {
			return nil, conf.missing
		}
		return params{"TagSet": tagList(th.tags)}, nil
	}
	got := th.body.sub(key)
	if got == nil {
		return nil, conf.missing
	}
	if key == "BucketLifecycleConfiguration" || key == "BucketCors" { // the answer has no member around it
		return got.sub(conf.members[0]), nil
	}
	return got, nil
}

func (conf bucketConfig) put(c *call, th *thing, key string) *apiError {
	if key == "BucketTagging" {
		tags := tagsOf(c.in.sub("Tagging"), "TagSet")
		if len(tags) != len(c.in.sub("Tagging").list("TagSet")) {
			return fail("InvalidTag", "Cannot provide multiple Tags with the same key")
		}
		for k := range tags {
			if strings.HasPrefix(k, "aws:") {
				return fail("InvalidTag", "System tags cannot be added/updated by requester")
			}
		}
		if len(tags) > maxTags {
			return fail("BadRequest", "Bucket tag count cannot be greater than 50")
		}
		th.tags = maps.Clone(tags) // all of them are put at once, so others' are gone
		return nil
	}
	for _, rule := range c.in.sub("LifecycleConfiguration").subs("Rules") {
		if !rule.has("Filter") && !rule.has("Prefix") || len(rule.take("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "Transitions", "NoncurrentVersionTransitions")) == 0 {
			return fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
		}
	}
	th.body[key] = c.in.take(conf.members...)
	return nil
}

// dumpS3 is what is in buckets, for Dump.
func (s *Server) dumpS3() string {
	var b strings.Builder
	for _, th := range s.pick(func(th *thing) bool { return th.service == "s3" }) {
		versioning, _ := s.s3.backend.VersioningConfiguration(th.id)
		fmt.Fprintf(&b, "s3 %s versioning %s\n", th.id, versioning.Status)
		list, err := s.s3.backend.ListBucketVersions(th.id, nil, &gofakes3.ListBucketVersionsPage{})
		if err != nil {
			s.t.Errorf("awstest: list %s: %v", th.id, err)
			continue
		}
		for _, v := range list.Versions {
			fmt.Fprintf(&b, "s3 %s %s\n", th.id, versionLine(v))
		}
	}
	return b.String()
}

func versionLine(v gofakes3.VersionItem) string {
	switch v := v.(type) {
	case *gofakes3.Version:
		return fmt.Sprintf("%s %s %s", v.Key, v.VersionID, v.ETag)
	case *gofakes3.DeleteMarker:
		return fmt.Sprintf("%s %s deleted", v.Key, v.VersionID)
	}
	return fmt.Sprint(v.GetVersionID())
}
