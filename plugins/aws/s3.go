package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// mostBucketName is the longest name of a bucket, in characters.
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
	mostBucketName = 63
	// defaultAbortDays is after how many days the parts of an upload that was never
	// ended go: nobody sees them, and they cost.
	defaultAbortDays = 7
	// berthRule begins the IDs of the lifecycle rules that settings ask for.
	berthRule = "berth-"
)

// s3Kind is a bucket: closed to the public and encrypted, with versions and
// expiry where settings ask for them. Its name is Berth's to choose, since the
// names of buckets are everybody's. Archive leaves it as it is.
func s3Kind() kind {
	return kind{
		name: "s3", title: "S3 bucket",
		schema: object("A bucket of S3, closed to the public.", map[string]any{
			"versioning":      flag("Whether earlier versions of objects are kept."),
			"kms_key":         text("The KMS key that encrypts objects; S3's own when left out."),
			"expire_days":     number("After how many days objects go; never when left out.", 1, 3650),
			"noncurrent_days": number("After how many days earlier versions go; never when left out.", 1, 3650),
		}),
		open: openBucket, list: listBuckets,
	}
}

// bucket is the thing that the kind opens.
type bucket struct {
	s    *session
	name string
	bucketSettings
}

type bucketSettings struct {
	Versioning     bool   `json:"versioning"`
	KMSKey         string `json:"kms_key"`
	ExpireDays     int32  `json:"expire_days"`
	NoncurrentDays int32  `json:"noncurrent_days"`
}

func openBucket(s *session, in input) (thing, error) {
	t := &bucket{s: s, name: s.owner.uniqueName(mostBucketName)}
	if err := strict(in.settings, &t.bucketSettings, "`s3` of an aws part"); err != nil {
		return nil, err
	}
	if t.NoncurrentDays > 0 && !t.Versioning {
		return nil, sdk.Invalid("`noncurrent_days` of `s3` is about earlier versions: it needs `versioning: true`.")
	}
	if in.name != "" {
		t.name = in.name
	}
	return t, nil
}

func (s *session) s3() *s3.Client {
	return clientOf(s, "s3", func(c awssdk.Config) *s3.Client {
		return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = c.BaseEndpoint != nil })
	})
}

func (t *bucket) title() string { return fmt.Sprintf("S3 bucket %q", t.name) }

// tags are those of the bucket, and whether it is there.
func (t *bucket) tags(ctx context.Context) (tags map[string]string, there bool, err error) {
	out, err := t.s.s3().GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &t.name})
	switch {
	case isCode(err, "NoSuchBucket"):
		return nil, false, nil
	case isCode(err, "NoSuchTagSet"):
		return nil, true, nil
	case isCode(err, "PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
		return nil, false, sdk.Invalid("The %s is there in another region, where an earlier deploy made it: clean the environment up with that region in its settings, then deploy it here.", t.title())
	case err != nil:
		return nil, false, err
	}
	return bucketTags(out.TagSet), true, nil
}

func bucketTags(tags []types.Tag) map[string]string {
	return tagMap(tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value })
}

// look compares the bucket with what settings say.
func (t *bucket) look(ctx context.Context) (standing, []change, error) {
	tags, there, err := t.tags(ctx)
	if err != nil || !there || !t.s.mine(tags) {
		return standing{there: there, tags: tags}, nil, err
	}
	changes, err := t.changes(ctx, tags)
	at := standing{there: true, tags: tags, data: true}
	for _, c := range changes {
		at.changes = append(at.changes, c.text)
	}
	return at, changes, err
}

// change is one thing that a deploy has to put right.
type change struct {
	text string
	do   func(context.Context) error
}

func (t *bucket) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	at, _, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Cleanup && at.there && t.s.mine(at.tags) {
		first, err := t.s.s3().ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &t.name, MaxKeys: awssdk.Int32(1)})
		if err != nil {
			return proposal{}, err
		}
		at.data = len(first.Versions) > 0
	}
	return t.s.propose(verb, "S3 bucket", t.name, t.words(), at)
}

// words are what a deploy makes the bucket with.
func (t *bucket) words() string {
	words := []string{"no public access"}
	if t.Versioning {
		words = append(words, "versioning")
	}
	if t.ExpireDays > 0 {
		words = append(words, fmt.Sprintf("objects that go after %d days", t.ExpireDays))
	}
	return "with " + listed(words)
}

// deploy makes the bucket with its tags, and then puts right what differs.
func (t *bucket) deploy(ctx context.Context) (progress, error) {
	at, changes, err := t.look(ctx)
	switch {
	case err != nil:
		return progress{}, err
	case !at.there:
		return t.create(ctx)
	}
	if err := t.s.refuse(t.title(), at.tags); err != nil {
		return progress{}, err
	}
	for _, c := range changes {
		if err := c.do(ctx); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

func (t *bucket) create(ctx context.Context) (progress, error) {
	// Tags with CreateBucket need the right s3:TagResource, and are why no bucket is
	// ever without them, however a deploy ends.
	in := &s3.CreateBucketInput{Bucket: &t.name, CreateBucketConfiguration: &types.CreateBucketConfiguration{
		Tags: tagList(t.s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	}}
	if t.s.place.region != "us-east-1" { // which S3 wants to be left out
		in.CreateBucketConfiguration.LocationConstraint = types.BucketLocationConstraint(t.s.place.region)
	}
	_, err := t.s.s3().CreateBucket(ctx, in)
	switch {
	case isCode(err, "BucketAlreadyExists"):
		return progress{}, sdk.Invalid("The name %q is taken by a bucket of another AWS account: give this part or its app another name.", t.name)
	case err != nil && !isCode(err, "BucketAlreadyOwnedByYou"):
		return progress{}, err
	}
	return waiting("%s is set up", t.title())
}

func (t *bucket) outputs(ctx context.Context) (map[string]string, error) {
	_, there, err := t.tags(ctx)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, vanished(t.title())
	}
	return map[string]string{"name": t.name, "arn": "arn:" + t.s.partition() + ":s3:::" + t.name, "region": t.s.place.region}, nil
}

func (t *bucket) observe(ctx context.Context) (report, error) {
	at, _, err := t.look(ctx)
	if err != nil {
		return report{}, err
	}
	return t.s.reportOf(t.title(), at), nil
}

// listBuckets finds buckets of the session's region by name, and asks each for
// its tags: S3 tells those one by one.
func listBuckets(ctx context.Context, s *session) ([]found, error) {
	pages := s3.NewListBucketsPaginator(s.s3(), &s3.ListBucketsInput{Prefix: awssdk.String(namePrefix), BucketRegion: &s.place.region})
	var out []found
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Buckets {
			t := &bucket{s: s, name: awssdk.ToString(one.Name)}
			if s.owner.app != "" && t.name != s.owner.uniqueName(mostBucketName) {
				continue // names are not given, so this is surely another's
			}
			tags, there, err := t.tags(ctx)
			if err != nil {
				return nil, err
			}
			if there && s.ours(tags) {
				out = append(out, found{name: t.name, owner: tagsOwner(tags), createdAt: awssdk.ToTime(one.CreationDate)})
			}
		}
	}
	return out, nil
}

// rules are the lifecycle rules that settings ask for.
func (t *bucket) rules() []types.LifecycleRule {
	rule := func(id string) types.LifecycleRule {
		return types.LifecycleRule{ID: awssdk.String(berthRule + id), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: awssdk.String("")}}
	}
	abort := rule("abort")
	abort.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: awssdk.Int32(defaultAbortDays)}
	out := []types.LifecycleRule{abort}
	if t.ExpireDays > 0 {
		r := rule("expire")
		r.Expiration = &types.LifecycleExpiration{Days: &t.ExpireDays}
		out = append(out, r)
	}
	if t.NoncurrentDays > 0 {
		r := rule("noncurrent")
		r.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: &t.NoncurrentDays}
		out = append(out, r)
	}
	return out
}

// sameRules tells whether have, of which strangers' rules are left out, is want.
func sameRules(have, want []types.LifecycleRule) bool {
	sign := func(rules []types.LifecycleRule) []string {
		var out []string
		for _, r := range rules {
			if !strings.HasPrefix(awssdk.ToString(r.ID), berthRule) {
				continue
			}
			line := fmt.Sprint(awssdk.ToString(r.ID), r.Status)
			if e := r.Expiration; e != nil {
				line += fmt.Sprint(" expire ", awssdk.ToInt32(e.Days))
			}
			if e := r.NoncurrentVersionExpiration; e != nil {
				line += fmt.Sprint(" noncurrent ", awssdk.ToInt32(e.NoncurrentDays))
			}
			if e := r.AbortIncompleteMultipartUpload; e != nil {
				line += fmt.Sprint(" abort ", awssdk.ToInt32(e.DaysAfterInitiation))
			}
			out = append(out, line)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(sign(have), sign(want))
}
