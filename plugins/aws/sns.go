package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/berth-dev/berth/plugins/sdk"
)

// mostTopicName is the longest name of a topic, in characters, .fifo included.
// Source: https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
const mostTopicName = 256

// snsKind is a topic, with the part's own queue subscribed to it where settings
// ask for that.
func snsKind() kind {
	return kind{
		name: "sns", title: "SNS topic", after: []string{"sqs"},
		schema: object("A topic of SNS.", map[string]any{
			"fifo":             flag("Whether messages come in order, each once. It cannot be changed later."),
			"dedup_by_content": flag("Whether a FIFO topic tells messages apart by what they say."),
			"display_name":     text("What people see in mails from it."),
			"kms_key":          text("The KMS key that encrypts messages."),
			"queue": object("Subscribes the queue that `sqs` of the same part makes.", map[string]any{
				"raw":    flag("Whether the queue gets the message alone, without SNS' envelope."),
				"filter": map[string]any{"type": "object", "description": "The filter policy: which messages it gets."},
			}),
		}),
		open: openTopic, list: listTopics,
	}
}

// topic is the thing that the kind opens.
type topic struct {
	s    *session
	name string
	topicSettings
}

type topicSettings struct {
	FIFO        bool       `json:"fifo"`
	Dedup       bool       `json:"dedup_by_content"`
	DisplayName string     `json:"display_name"`
	KMSKey      string     `json:"kms_key"`
	Queue       *subscribe `json:"queue"`
}

type subscribe struct {
	Raw    bool           `json:"raw"`
	Filter map[string]any `json:"filter"`
}

func openTopic(s *session, in input) (thing, error) {
	t := &topic{s: s, name: s.name(mostTopicName - len(fifoSuffix))}
	if err := strict(in.settings, &t.topicSettings, "`sns` of an aws part"); err != nil {
		return nil, err
	}
	if t.FIFO {
		t.name += fifoSuffix
	}
	if _, asked := s.step.With["sqs"]; t.Queue != nil && !asked {
		return nil, sdk.Invalid("`queue` of `sns` subscribes the queue of the same part: it needs `sqs` beside it.")
	}
	if queue, _ := s.step.With["sqs"].(map[string]any); t.Queue != nil && !t.FIFO && queue["fifo"] == true {
		return nil, sdk.Invalid("`queue` of `sns` cannot subscribe a FIFO queue to a topic that is none: give `sns` a `fifo: true` as well.")
	}
	if t.Dedup && !t.FIFO {
		return nil, sdk.Invalid("`dedup_by_content` of `sns` is about FIFO topics: it needs `fifo: true`.")
	}
	if in.name != "" {
		t.name = in.name
	}
	return t, nil
}

func (s *session) sns() *sns.Client {
	return clientOf(s, "sns", func(c awssdk.Config) *sns.Client { return sns.NewFromConfig(c) })
}

func (t *topic) title() string { return fmt.Sprintf("SNS topic %q", t.name) }

func (t *topic) arn(ctx context.Context) (string, error) {
	id, err := t.s.accountID(ctx)
	return fmt.Sprintf("arn:%s:sns:%s:%s:%s", t.s.partition(), t.s.place.region, id, t.name), err
}

// want are the attributes that settings ask for.
func (t *topic) want() map[string]string {
	out := map[string]string{}
	if t.DisplayName != "" {
		out["DisplayName"] = t.DisplayName
	}
	if t.KMSKey != "" {
		out["KmsMasterKeyId"] = t.KMSKey
	}
	if t.FIFO {
		out["FifoTopic"], out["ContentBasedDeduplication"] = "true", strconv.FormatBool(t.Dedup)
	}
	return out
}

// look compares the topic with what settings say.
func (t *topic) look(ctx context.Context) (standing, []change, error) {
	arn, err := t.arn(ctx)
	if err != nil {
		return standing{}, nil, err
	}
	tags, there, err := t.s.topicTags(ctx, arn)
	at := standing{there: there, tags: tags}
	if err != nil || !there || !t.s.mine(tags) {
		return at, nil, err
	}
	out, err := t.s.sns().GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if isCode(err, "NotFound", "NotFoundException") {
		return standing{}, nil, nil
	}
	if err != nil {
		return at, nil, err
	}
	var changes []change
	for key, value := range differs(out.Attributes, t.want()) {
		changes = append(changes, change{"sets " + key, func(ctx context.Context) error {
			_, err := t.s.sns().SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &key, AttributeValue: &value})
			return err
		}})
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.text, b.text) })
	if !t.s.tagged(tags) {
		changes = append(changes, change{"sets other tags", func(ctx context.Context) error {
			_, err := t.s.sns().TagResource(ctx, &sns.TagResourceInput{ResourceArn: &arn, Tags: t.asTags()})
			return err
		}})
	}
	subscribed, err := t.subscription(ctx, arn)
	if err != nil {
		return at, nil, err
	}
	changes = append(changes, subscribed...)
	for _, c := range changes {
		at.changes = append(at.changes, c.text)
	}
	return at, changes, nil
}

func (t *topic) asTags() []types.Tag {
	return tagList(t.s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func (s *session) topicTags(ctx context.Context, arn string) (map[string]string, bool, error) {
	out, err := s.sns().ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if isCode(err, "ResourceNotFound", "ResourceNotFoundException", "NotFound") {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return tagMap(out.Tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value }), true, nil
}

// subscription is what has to be done for the part's queue to get the topic's
// messages: the queue lets the topic in, and the topic sends to the queue. While
// the queue is not there, as in a first plan, there is nothing to tell.
func (t *topic) subscription(ctx context.Context, arn string) ([]change, error) {
	queue, url := t.s.outputOf("sqs", "arn"), t.s.outputOf("sqs", "url")
	if t.Queue == nil || queue == "" {
		return nil, nil
	}
	var changes []change
	open, err := t.letIn(ctx, arn, queue, url)
	if err != nil {
		return nil, err
	}
	if open != nil {
		changes = append(changes, *open)
	}
	want := map[string]string{"RawMessageDelivery": strconv.FormatBool(t.Queue.Raw)}
	if len(t.Queue.Filter) > 0 {
		filter, err := json.Marshal(t.Queue.Filter)
		if err != nil {
			return nil, sdk.Internal("The filter of the %s cannot be written down: %w", t.title(), err)
		}
		want["FilterPolicy"] = string(filter)
	}
	sub, err := t.subscribed(ctx, arn, queue)
	if err != nil {
		return nil, err
	}
	if sub == "" {
		return append(changes, change{"subscribes the queue", func(ctx context.Context) error {
			_, err := t.s.sns().Subscribe(ctx, &sns.SubscribeInput{TopicArn: &arn, Protocol: awssdk.String("sqs"), Endpoint: &queue, Attributes: want, ReturnSubscriptionArn: true})
			return err
		}}), nil
	}
	have, err := t.s.sns().GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &sub})
	if err != nil {
		return nil, err
	}
	if have.Attributes["FilterPolicy"] != "" && want["FilterPolicy"] == "" {
		want["FilterPolicy"] = ""
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value := want[key]
		if have.Attributes[key] == value || sameJSON(have.Attributes[key], value) {
			continue
		}
		changes = append(changes, change{"sets the subscription's " + key, func(ctx context.Context) error {
			_, err := t.s.sns().SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: &sub, AttributeName: &key, AttributeValue: &value})
			return err
		}})
	}
	return changes, nil
}

// subscribed is the ARN of the queue's subscription, "" when it has none.
func (t *topic) subscribed(ctx context.Context, arn, queue string) (string, error) {
	pages := sns.NewListSubscriptionsByTopicPaginator(t.s.sns(), &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, one := range page.Subscriptions {
			if awssdk.ToString(one.Endpoint) == queue {
				return awssdk.ToString(one.SubscriptionArn), nil
			}
		}
	}
	return "", nil
}

// letIn is the change of the queue's policy that lets the topic send to it.
// Statements that others wrote stay.
func (t *topic) letIn(ctx context.Context, arn, queue, url string) (*change, error) {
	out, err := t.s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: queuePolicyOnly})
	if err != nil {
		return nil, err
	}
	const sid = "BerthTopic"
	mine := map[string]any{
		"Sid": sid, "Effect": "Allow", "Principal": map[string]any{"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
		"Resource": queue, "Condition": map[string]any{"ArnEquals": map[string]any{"aws:SourceArn": arn}},
	}
	policy := map[string]any{}
	if text := out.Attributes[queuePolicy]; text != "" {
		if err := json.Unmarshal([]byte(text), &policy); err != nil {
			return nil, sdk.Downstream("The policy of the queue of the %s cannot be read: %w", t.title(), err)
		}
	}
	statements, _ := policy["Statement"].([]any)
	statements = slices.DeleteFunc(slices.Clone(statements), func(s any) bool {
		m, _ := s.(map[string]any)
		return m["Sid"] == sid
	})
	policy["Version"], policy["Statement"] = "2012-10-17", append(statements, mine)
	want, err := json.Marshal(policy)
	if err != nil {
		return nil, sdk.Internal("The policy of the queue cannot be written down: %w", err)
	}
	if sameJSON(out.Attributes[queuePolicy], string(want)) {
		return nil, nil
	}
	return &change{"lets the topic send to the queue", func(ctx context.Context) error {
		_, err := t.s.sqs().SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{queuePolicy: string(want)}})
		return err
	}}, nil
}

func (t *topic) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	at, _, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Deploy && !at.there {
		if err := t.otherSort(ctx); err != nil {
			return proposal{}, err
		}
	}
	made := ""
	if t.Queue != nil {
		made = "with the part's queue subscribed"
	}
	return t.s.propose(verb, "SNS topic", t.name, made, at)
}

// otherSort refuses to make a FIFO topic beside the part's plain one, or the other
// way round: they have different names, and the earlier one would stay.
func (t *topic) otherSort(ctx context.Context) error {
	other := &topic{s: t.s}
	if name, fifo := strings.CutSuffix(t.name, fifoSuffix); fifo {
		other.name = name
	} else {
		other.name = t.name + fifoSuffix
	}
	arn, err := other.arn(ctx)
	if err != nil {
		return err
	}
	tags, there, err := t.s.topicTags(ctx, arn)
	if err != nil || !there || !t.s.mine(tags) {
		return err
	}
	return sdk.Invalid("The part has the %s, and SNS cannot change `fifo` of it. Clean the environment up and deploy again, or leave `fifo` as it was.", other.title())
}

func (t *topic) deploy(ctx context.Context) (progress, error) {
	at, changes, err := t.look(ctx)
	if err != nil {
		return progress{}, err
	}
	if !at.there {
		_, err := t.s.sns().CreateTopic(ctx, &sns.CreateTopicInput{Name: &t.name, Attributes: t.want(), Tags: t.asTags()})
		there := isCode(err, "InvalidParameter", "InvalidParameterException") && strings.Contains(err.Error(), "already exists")
		if err != nil && !there {
			return progress{}, err
		}
		return waiting("%s is set up", t.title())
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

// remove deletes the topic, and with it its subscriptions.
func (t *topic) remove(ctx context.Context) (progress, error) {
	arn, err := t.arn(ctx)
	if err != nil {
		return progress{}, err
	}
	tags, there, err := t.s.topicTags(ctx, arn)
	if err != nil || !there || !t.s.mine(tags) {
		return progress{done: err == nil}, err
	}
	if _, err := t.s.sns().DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &arn}); err != nil && !isCode(err, "NotFound", "NotFoundException") {
		return progress{}, err
	}
	return finished()
}

func (t *topic) outputs(ctx context.Context) (map[string]string, error) {
	arn, err := t.arn(ctx)
	return map[string]string{"arn": arn, "name": t.name}, err
}

func (t *topic) observe(ctx context.Context) (report, error) {
	at, _, err := t.look(ctx)
	if err != nil {
		return report{}, err
	}
	return t.s.reportOf(t.title(), at), nil
}

// listTopics finds topics by name, and asks each for its tags.
func listTopics(ctx context.Context, s *session) ([]found, error) {
	prefix := namePrefix
	if s.owner.app != "" {
		prefix = s.name(mostTopicName - len(fifoSuffix))
	}
	var out []found
	pages := sns.NewListTopicsPaginator(s.sns(), &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Topics {
			arn := awssdk.ToString(one.TopicArn)
			name := arn[strings.LastIndex(arn, ":")+1:]
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			tags, there, err := s.topicTags(ctx, arn)
			if err != nil {
				return nil, err
			}
			if there && s.ours(tags) {
				out = append(out, found{name: name, owner: tagsOwner(tags)})
			}
		}
	}
	return out, nil
}
