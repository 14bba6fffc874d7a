package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// mostQueueName is the longest name of a queue, in characters, .fifo included.
	// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
	mostQueueName = 80
	fifoSuffix    = ".fifo"
	deadSuffix    = "-dlq"
	// deadRetention is how long a dead-letter queue keeps messages, in seconds: the
	// longest that SQS can. Source: as above.
	deadRetention = 14 * 24 * 60 * 60
)

// Attributes of queues. Source:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
const (
	queueARN        = "QueueArn"
	queueVisibility = "VisibilityTimeout"
	queueRetention  = "MessageRetentionPeriod"
	queueDelay      = "DelaySeconds"
	queueRedrive    = "RedrivePolicy"
	queueFIFO       = "FifoQueue"
	queueDedup      = "ContentBasedDeduplication"
	queueKMS        = "KmsMasterKeyId"
	queueManagedSSE = "SqsManagedSseEnabled"
	queuePolicy     = "Policy"
	queueMessages   = "ApproximateNumberOfMessages"
	queueCreated    = "CreatedTimestamp"
)

// queuePolicyOnly asks for a queue's policy.
var queuePolicyOnly = []types.QueueAttributeName{types.QueueAttributeNamePolicy}

// sqsKind is a queue, with a dead-letter queue where settings ask for one.
func sqsKind() kind {
	return kind{
		name: "sqs", title: "SQS queue",
		schema: object("A queue of SQS.", map[string]any{
			"fifo":               flag("Whether messages come in order, each once. It cannot be changed later."),
			"dedup_by_content":   flag("Whether a FIFO queue tells messages apart by what they say."),
			"visibility_seconds": number("How long a message that was received stays hidden; 30 when left out.", 0, 43200),
			"retention_seconds":  number("How long a message is kept; four days when left out.", 60, deadRetention),
			"delay_seconds":      number("How long a message is held back.", 0, 900),
			"kms_key":            text("The KMS key that encrypts messages; SQS' own when left out."),
			"dead_letters": object("A second queue, for messages that nobody could work on.", map[string]any{
				"after": number("How often a message is received before it goes there; 5 when left out.", 1, 1000),
			}),
		}),
		open: openQueue, list: listQueues,
	}
}

// queue is the thing that the kind opens.
type queue struct {
	s    *session
	base string // the name without .fifo
	queueSettings
}

type queueSettings struct {
	FIFO        bool         `json:"fifo"`
	Dedup       bool         `json:"dedup_by_content"`
	Visibility  *int         `json:"visibility_seconds"`
	Retention   *int         `json:"retention_seconds"`
	Delay       *int         `json:"delay_seconds"`
	KMSKey      string       `json:"kms_key"`
	DeadLetters *deadLetters `json:"dead_letters"`
}

type deadLetters struct {
	After int `json:"after"`
}

func openQueue(s *session, in input) (thing, error) {
	t := &queue{s: s, base: s.name(mostQueueName - len(deadSuffix+fifoSuffix))}
	if err := strict(in.settings, &t.queueSettings, "`sqs` of an aws part"); err != nil {
		return nil, err
	}
	if t.Dedup && !t.FIFO {
		return nil, sdk.Invalid("`dedup_by_content` of `sqs` is about FIFO queues: it needs `fifo: true`.")
	}
	if in.name != "" {
		t.base, t.FIFO = strings.CutSuffix(in.name, fifoSuffix)
	}
	return t, nil
}

func (s *session) sqs() *sqs.Client {
	return clientOf(s, "sqs", func(c awssdk.Config) *sqs.Client { return sqs.NewFromConfig(c) })
}

func (t *queue) name() string { return t.suffixed(t.base) }

func (t *queue) deadName() string { return t.suffixed(t.base + deadSuffix) }

func (t *queue) suffixed(name string) string {
	if t.FIFO {
		return name + fifoSuffix
	}
	return name
}

func (t *queue) title() string { return fmt.Sprintf("SQS queue %q", t.name()) }

// queueState is one queue as it is.
type queueState struct {
	standing
	url   string
	attrs map[string]string
}

func (s *session) lookAtQueue(ctx context.Context, name string) (queueState, error) {
	var at queueState
	url, err := s.sqs().GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if noQueue(err) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	at.url = awssdk.ToString(url.QueueUrl)
	tags, err := s.sqs().ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: url.QueueUrl})
	if noQueue(err) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	if at.tags = tags.Tags; !s.mine(tags.Tags) { // what is not ours is not looked into
		at.there = true
		return at, nil
	}
	attrs, err := s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if noQueue(err) {
		return queueState{}, nil
	}
	if err != nil {
		return at, err
	}
	at.there, at.attrs = true, attrs.Attributes
	if n := at.attrs[queueMessages]; n != "" && n != "0" {
		at.data = true
		at.facts = []sdk.Fact{{Name: "messages in " + name, Text: "about " + n}}
	}
	return at, nil
}

func noQueue(err error) bool {
	return isCode(err, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
}

// want are the attributes of the queue, given its dead-letter queue's ARN.
func (t *queue) want(dead string) map[string]string {
	out := map[string]string{queueManagedSSE: "true"}
	if t.KMSKey != "" {
		out = map[string]string{queueKMS: t.KMSKey}
	}
	for key, n := range map[string]*int{queueVisibility: t.Visibility, queueRetention: t.Retention, queueDelay: t.Delay} {
		if n != nil {
			out[key] = strconv.Itoa(*n)
		}
	}
	if t.FIFO {
		out[queueFIFO], out[queueDedup] = "true", strconv.FormatBool(t.Dedup)
	}
	if t.DeadLetters != nil {
		const defaultAfter = 5
		policy, _ := json.Marshal(map[string]any{"deadLetterTargetArn": dead, "maxReceiveCount": cmp.Or(t.DeadLetters.After, defaultAfter)})
		out[queueRedrive] = string(policy)
	}
	return out
}

// wantDead are those of the dead-letter queue.
func (t *queue) wantDead() map[string]string {
	out := map[string]string{queueManagedSSE: "true", queueRetention: strconv.Itoa(deadRetention)}
	if t.KMSKey != "" {
		out = map[string]string{queueKMS: t.KMSKey, queueRetention: strconv.Itoa(deadRetention)}
	}
	if t.FIFO {
		out[queueFIFO] = "true"
	}
	return out
}

// differs are the attributes that have to be set. One that SQS tells nothing of
// is as if it were "".
func differs(have, want map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range want {
		if have[key] != value && (key != queueRedrive || !sameJSON(have[key], value)) {
			out[key] = value
		}
	}
	return out
}

// look compares the queues with what settings say.
func (t *queue) look(ctx context.Context) (main, dead queueState, err error) {
	if dead, err = t.s.lookAtQueue(ctx, t.deadName()); err != nil {
		return main, dead, err
	}
	if main, err = t.s.lookAtQueue(ctx, t.name()); err != nil {
		return main, dead, err
	}
	if !main.there || !t.s.mine(main.tags) {
		return main, dead, nil
	}
	if set := differs(main.attrs, t.want(dead.attrs[queueARN])); len(set) > 0 {
		main.changes = append(main.changes, "sets "+listed(slices.Sorted(maps.Keys(set))))
	}
	if !t.s.tagged(main.tags) {
		main.changes = append(main.changes, "sets other tags")
	}
	if t.DeadLetters == nil && main.attrs[queueRedrive] != "" {
		main.changes = append(main.changes, "takes the dead-letter queue away")
	}
	return main, dead, nil
}

func (t *queue) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	main, dead, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Deploy && !main.there {
		if err := t.otherSort(ctx); err != nil {
			return proposal{}, err
		}
	}
	p, err := t.s.propose(verb, "SQS queue", t.name(), "", main.standing)
	if err != nil || t.DeadLetters == nil && !dead.there {
		return p, err
	}
	if t.DeadLetters == nil && verb != sdk.Cleanup {
		return p, nil
	}
	d, err := t.s.propose(verb, "SQS queue", t.deadName(), "for messages that nobody could work on", dead.standing)
	p.lines, p.resources = append(p.lines, d.lines...), append(p.resources, d.resources...)
	return p, err
}

// otherSort refuses to make a FIFO queue beside the part's plain one, or the other
// way round: they have different names, and the earlier one would stay.
func (t *queue) otherSort(ctx context.Context) error {
	other := &queue{s: t.s, base: t.base, queueSettings: queueSettings{FIFO: !t.FIFO}}
	at, err := t.s.lookAtQueue(ctx, other.name())
	if err != nil || !at.there || !t.s.mine(at.tags) {
		return err
	}
	return sdk.Invalid("The part has the %s, and SQS cannot change `fifo` of it. Clean the environment up and deploy again, or leave `fifo` as it was.", other.title())
}

// deploy makes the dead-letter queue first, as the queue names it.
func (t *queue) deploy(ctx context.Context) (progress, error) {
	main, dead, err := t.look(ctx)
	if err != nil {
		return progress{}, err
	}
	if t.DeadLetters != nil {
		if at, err := t.ensure(ctx, t.deadName(), dead, t.wantDead()); err != nil || !at.done {
			return at, err
		}
	}
	at, err := t.ensure(ctx, t.name(), main, t.want(dead.attrs[queueARN]))
	if err != nil || !at.done {
		return at, err
	}
	if t.DeadLetters == nil && main.attrs[queueRedrive] != "" {
		_, err := t.s.sqs().SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &main.url, Attributes: map[string]string{queueRedrive: ""}})
		return progress{done: err == nil}, err
	}
	return at, nil
}

// ensure makes one queue, or puts right what differs.
func (t *queue) ensure(ctx context.Context, name string, at queueState, want map[string]string) (progress, error) {
	title := fmt.Sprintf("SQS queue %q", name)
	api := t.s.sqs()
	if !at.there {
		_, err := api.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: want, Tags: t.s.tags()})
		switch {
		case isCode(err, "QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"):
			return waiting("%s was deleted a moment ago: SQS keeps its name for a minute", title)
		case err != nil && !isCode(err, "QueueNameExists", "QueueAlreadyExists"):
			return progress{}, err
		}
		return waiting("%s is looked at again", title)
	}
	if err := t.s.refuse(title, at.tags); err != nil {
		return progress{}, err
	}
	if set := differs(at.attrs, want); len(set) > 0 {
		if _, err := api.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &at.url, Attributes: set}); err != nil {
			return progress{}, err
		}
	}
	if !t.s.tagged(at.tags) {
		if _, err := api.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: &at.url, Tags: t.s.tags()}); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// remove deletes the queue, and then the one for its dead letters.
func (t *queue) remove(ctx context.Context) (progress, error) {
	for _, name := range []string{t.name(), t.deadName()} {
		at, err := t.s.lookAtQueue(ctx, name)
		if err != nil {
			return progress{}, err
		}
		if !at.there || !t.s.mine(at.tags) {
			continue
		}
		if _, err := t.s.sqs().DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &at.url}); err != nil && !noQueue(err) {
			return progress{}, err
		}
	}
	return finished()
}

func (t *queue) outputs(ctx context.Context) (map[string]string, error) {
	main, dead, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	if !main.there {
		return nil, vanished(t.title())
	}
	out := map[string]string{"name": t.name(), "url": main.url, "arn": main.attrs[queueARN]}
	if t.DeadLetters != nil {
		out["dead_letters_url"], out["dead_letters_arn"] = dead.url, dead.attrs[queueARN]
	}
	return out, nil
}

func (t *queue) observe(ctx context.Context) (report, error) {
	main, dead, err := t.look(ctx)
	if err != nil {
		return report{}, err
	}
	r := t.s.reportOf(t.title(), main.standing)
	if t.DeadLetters != nil && main.there {
		r.facts = append(r.facts, dead.facts...)
		if !dead.there {
			r.drift = append(r.drift, fmt.Sprintf("The SQS queue %q for dead letters is gone.", t.deadName()))
		}
	}
	return r, nil
}
