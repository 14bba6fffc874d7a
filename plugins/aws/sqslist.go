package aws

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// listQueues finds queues by name, and asks each for its tags. A queue for dead
// letters is told as a part of the one that it serves.
func listQueues(ctx context.Context, s *session) ([]found, error) {
	prefix := namePrefix
	if s.owner.app != "" {
		prefix = s.name(mostQueueName - len(deadSuffix+fifoSuffix))
	}
	const page = 1000
	pages := sqs.NewListQueuesPaginator(s.sqs(), &sqs.ListQueuesInput{QueueNamePrefix: &prefix, MaxResults: awssdk.Int32(page)})
	all := map[string]found{}
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, url := range out.QueueUrls {
			name := url[strings.LastIndex(url, "/")+1:]
			tags, err := s.sqs().ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
			if noQueue(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if s.ours(tags.Tags) {
				all[name] = found{name: name, owner: tagsOwner(tags.Tags), createdAt: s.queueCreated(ctx, url)}
			}
		}
	}
	var list []found
	for _, name := range slices.Sorted(maps.Keys(all)) {
		base, fifo := strings.CutSuffix(name, fifoSuffix)
		if of, dead := strings.CutSuffix(base, deadSuffix); dead {
			if fifo {
				of += fifoSuffix
			}
			if main, there := all[of]; there && main.owner == all[name].owner {
				continue
			}
		}
		list = append(list, all[name])
	}
	return list, nil
}

// queueCreated is when a queue was made, zero when SQS does not say.
func (s *session) queueCreated(ctx context.Context, url string) time.Time {
	out, err := s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{queueCreated}})
	if err != nil {
		return time.Time{}
	}
	n, err := strconv.ParseInt(out.Attributes[queueCreated], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
