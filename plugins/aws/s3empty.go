package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// mostPages is how many pages of versions, of up to a thousand each, are taken
// away before it is told that the bucket is being emptied: about a minute's work.
const mostPages = 100

// remove empties the bucket and deletes it. Each time it looks whose the bucket is
// before it takes anything.
func (t *bucket) remove(ctx context.Context) (progress, error) {
	tags, there, err := t.tags(ctx)
	if err != nil || !there || !t.s.mine(tags) {
		return progress{done: err == nil}, err
	}
	for range mostPages {
		gone, err := t.removeVersions(ctx)
		if err != nil {
			return progress{}, err
		}
		if gone == 0 {
			return t.removeEmpty(ctx)
		}
	}
	return waiting("%s is emptied", t.title())
}

// removeEmpty deletes the bucket, in which there are no objects any more.
func (t *bucket) removeEmpty(ctx context.Context) (progress, error) {
	more, err := t.abortUploads(ctx)
	if err != nil {
		return progress{}, err
	}
	if more {
		return waiting("%s is emptied", t.title())
	}
	_, err = t.s.s3().DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &t.name})
	switch {
	case isCode(err, "BucketNotEmpty"): // somebody writes into it
		return waiting("%s is emptied", t.title())
	case err != nil && !isCode(err, "NoSuchBucket"):
		return progress{}, err
	}
	return finished()
}

// removeVersions takes away one page of versions and delete markers, and tells
// how many there were.
func (t *bucket) removeVersions(ctx context.Context) (int, error) {
	page, err := t.s.s3().ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &t.name})
	if isCode(err, "NoSuchBucket") {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var all []types.ObjectIdentifier
	for _, v := range page.Versions {
		all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, v := range page.DeleteMarkers {
		all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	// Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
	const mostAtOnce = 1000
	for from := 0; from < len(all); from += mostAtOnce {
		batch := all[from:min(from+mostAtOnce, len(all))]
		out, err := t.s.s3().DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &t.name, Delete: &types.Delete{Objects: batch, Quiet: awssdk.Bool(true)}})
		if err != nil {
			return 0, err
		}
		if len(out.Errors) > 0 {
			e := out.Errors[0]
			return 0, sdk.Downstream("The %s cannot be emptied: %d objects cannot be deleted, the first of them %q: %s. A retention of objects or a policy may hold them.",
				t.title(), len(out.Errors), clip(awssdk.ToString(e.Key), 200), clip(awssdk.ToString(e.Message), 200))
		}
	}
	return len(all), nil
}

// abortUploads ends one page of uploads in parts, and tells whether there were any.
func (t *bucket) abortUploads(ctx context.Context) (bool, error) {
	page, err := t.s.s3().ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &t.name})
	if isCode(err, "NoSuchBucket", "NoSuchUpload") {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, up := range page.Uploads {
		_, err := t.s.s3().AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &t.name, Key: up.Key, UploadId: up.UploadId})
		if err != nil && !isCode(err, "NoSuchUpload") {
			return false, err
		}
	}
	return len(page.Uploads) > 0, nil
}
