package awstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var topicOps = map[string]func(*call) (params, *apiError){
	"CreateTopic": createTopic, "DeleteTopic": deleteTopic, "GetTopicAttributes": getTopicAttributes, "SetTopicAttributes": setTopicAttributes,
	"TagResource": tagTopic, "UntagResource": untagTopic, "ListTagsForResource": topicTags, "ListTopics": listTopics,
	"Subscribe": subscribe, "Unsubscribe": unsubscribe, "ListSubscriptionsByTopic": listSubscriptions,
	"GetSubscriptionAttributes": getSubscription, "SetSubscriptionAttributes": setSubscription,
}

// topicName is what a topic may be called.
// Source: https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$|^[A-Za-z0-9_-]{1,251}\.fifo$`)

var topicAttributes = []string{
	"DeliveryPolicy", "DisplayName", "FifoTopic", "Policy", "SignatureVersion", "TracingConfig", "KmsMasterKeyId", "ContentBasedDeduplication", "ArchivePolicy",
}

// createTopic is one of the calls that AWS makes idempotent by the name: with the
// same attributes and tags the topic that is there is the answer.
func createTopic(c *call) (params, *apiError) {
	name, attrs, tags := c.in.str("Name"), c.in.texts("Attributes"), tagsOf(c.in, "Tags")
	if !topicName.MatchString(name) {
		return nil, fail("InvalidParameterException", "Invalid parameter: Topic Name")
	}
	for k := range attrs {
		if !slices.Contains(topicAttributes, k) {
			return nil, fail("InvalidParameterException", "Invalid parameter: Attributes Reason: Unknown attribute %s", k)
		}
	}
	if (attrs["FifoTopic"] == "true") != strings.HasSuffix(name, ".fifo") {
		return nil, fail("InvalidParameterException", "Invalid parameter: Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens")
	}
	if old := c.find("topic", name); old != nil {
		have := old.body.texts("Attributes")
		for k, v := range attrs {
			if have[k] != v {
				return nil, fail("InvalidParameterException", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
			}
		}
		if !maps.Equal(old.tags, tags) && len(tags) > 0 {
			return nil, fail("InvalidParameterException", "Invalid parameter: Tags Reason: Topic already exists with different tags")
		}
		return params{"TopicArn": old.arn}, nil
	}
	arn := c.arn(name)
	all := params{"TopicArn": arn, "Owner": c.account, "DisplayName": "", "Policy": `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[]}`}
	for k, v := range attrs {
		all[k] = v
	}
	c.new("topic", name, arn, tags, params{"Attributes": all})
	return params{"TopicArn": arn}, nil
}

func (c *call) topic(member, missing string) (*thing, *apiError) {
	arn := c.in.str(member)
	if !strings.HasPrefix(arn, "arn:aws:sns:") {
		return nil, fail("InvalidParameterException", "Invalid parameter: %s", member)
	}
	if th := c.find("topic", arn[strings.LastIndex(arn, ":")+1:]); th != nil && th.arn == arn {
		return th, nil
	}
	return nil, fail(missing, "Topic does not exist").withStatus(404)
}

// deleteTopic succeeds for a topic that is not there, as AWS does, and takes its
// subscriptions along.
func deleteTopic(c *call) (params, *apiError) {
	th, err := c.topic("TopicArn", "NotFoundException")
	if err != nil && err.code == "NotFoundException" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.s.drop(th)
	for _, sub := range c.all("subscription") {
		if sub.body.str("TopicArn") == th.arn {
			c.s.drop(sub)
		}
	}
	return nil, nil
}

func getTopicAttributes(c *call) (params, *apiError) {
	th, err := c.topic("TopicArn", "NotFoundException")
	if err != nil {
		return nil, err
	}
	return params{"Attributes": th.body.sub("Attributes")}, nil
}

func setTopicAttributes(c *call) (params, *apiError) {
	th, err := c.topic("TopicArn", "NotFoundException")
	if err != nil {
		return nil, err
	}
	name := c.in.str("AttributeName")
	if !slices.Contains(topicAttributes, name) || name == "FifoTopic" {
		return nil, fail("InvalidParameterException", "Invalid parameter: AttributeName")
	}
	th.body.sub("Attributes")[name] = c.in.str("AttributeValue")
	return nil, nil
}

func tagTopic(c *call) (params, *apiError) {
	th, err := c.topic("ResourceArn", "ResourceNotFoundException")
	if err != nil {
		return nil, err
	}
	return params{}, setTags(th, tagsOf(c.in, "Tags"), "InvalidParameterException")
}

func untagTopic(c *call) (params, *apiError) {
	th, err := c.topic("ResourceArn", "ResourceNotFoundException")
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("TagKeys") {
		delete(th.tags, k)
	}
	return params{}, nil
}

func topicTags(c *call) (params, *apiError) {
	th, err := c.topic("ResourceArn", "ResourceNotFoundException")
	if err != nil {
		return nil, err
	}
	return params{"Tags": tagList(th.tags)}, nil
}

func listTopics(c *call) (params, *apiError) {
	got, next := page(c.all("topic"), c.in.str("NextToken"), 0, c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, params{"TopicArn": th.arn})
	}
	out := params{"Topics": list}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

var subscriptionAttributes = []string{"DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "SubscriptionRoleArn", "ReplayPolicy"}

func (c *call) checkSubscription(attrs map[string]string) *apiError {
	for k, v := range attrs {
		switch {
		case !slices.Contains(subscriptionAttributes, k):
			return fail("InvalidParameterException", "Invalid parameter: Attributes Reason: Unknown attribute %s", k)
		case strings.HasSuffix(k, "Policy") && v != "" && !json.Valid([]byte(v)):
			return fail("InvalidParameterException", "Invalid parameter: Attributes Reason: %s: failed to parse JSON.", k)
		case k == "RawMessageDelivery" && v != "true" && v != "false":
			return fail("InvalidParameterException", "Invalid parameter: Attributes Reason: RawMessageDelivery: Invalid value [%s]. Must be true or false.", v)
		}
	}
	return nil
}

// subscribe is idempotent as well, when the attributes are the same.
func subscribe(c *call) (params, *apiError) {
	topic, err := c.topic("TopicArn", "NotFoundException")
	if err != nil {
		return nil, err
	}
	attrs, protocol, endpoint := c.in.texts("Attributes"), c.in.str("Protocol"), c.in.str("Endpoint")
	if err := c.checkSubscription(attrs); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose"}, protocol):
		return nil, fail("InvalidParameterException", "Invalid parameter: Protocol")
	case protocol == "sqs" && !strings.HasPrefix(endpoint, "arn:aws:sqs:"):
		return nil, fail("InvalidParameterException", "Invalid parameter: SQS endpoint ARN")
	case protocol == "sqs" && strings.HasSuffix(endpoint, ".fifo") && !strings.HasSuffix(topic.id, ".fifo"):
		return nil, fail("InvalidParameterException", "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	for _, sub := range c.all("subscription") {
		if sub.body.str("TopicArn") == topic.arn && sub.body.str("Protocol") == protocol && sub.body.str("Endpoint") == endpoint {
			have := sub.body.texts("Attributes")
			for k, v := range attrs {
				if have[k] != v {
					return nil, fail("InvalidParameterException", "Invalid parameter: Attributes Reason: Subscription already exists with different attributes")
				}
			}
			return params{"SubscriptionArn": sub.arn}, nil
		}
	}
	id := fmt.Sprintf("%s:00000000-0000-4000-a000-%012x", topic.id, c.s.number())
	arn := c.arn(id)
	all := params{}
	for k, v := range attrs {
		all[k] = v
	}
	c.new("subscription", id, arn, nil, params{"TopicArn": topic.arn, "Protocol": protocol, "Endpoint": endpoint, "Owner": c.account, "Attributes": all})
	return params{"SubscriptionArn": arn}, nil
}

func (c *call) subscription() (*thing, *apiError) {
	for _, th := range c.all("subscription") {
		if th.arn == c.in.str("SubscriptionArn") {
			return th, nil
		}
	}
	return nil, fail("NotFoundException", "Subscription does not exist").withStatus(404)
}

func unsubscribe(c *call) (params, *apiError) {
	th, err := c.subscription()
	if err == nil {
		c.s.drop(th)
	}
	return nil, nil // one that is not there is what was asked for
}

func listSubscriptions(c *call) (params, *apiError) {
	topic, err := c.topic("TopicArn", "NotFoundException")
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(slices.Clone(c.all("subscription")), func(th *thing) bool { return th.body.str("TopicArn") != topic.arn })
	got, next := page(all, c.in.str("NextToken"), 0, c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, th.body.take("TopicArn", "Protocol", "Endpoint", "Owner").with(params{"SubscriptionArn": th.arn}))
	}
	out := params{"Subscriptions": list}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

func getSubscription(c *call) (params, *apiError) {
	th, err := c.subscription()
	if err != nil {
		return nil, err
	}
	attrs := params{"RawMessageDelivery": "false", "PendingConfirmation": "false"}.with(th.body.sub("Attributes"))
	for _, k := range []string{"TopicArn", "Protocol", "Endpoint", "Owner"} {
		attrs[k] = th.body.str(k)
	}
	attrs["SubscriptionArn"] = th.arn
	return params{"Attributes": attrs}, nil
}

func setSubscription(c *call) (params, *apiError) {
	th, err := c.subscription()
	if err != nil {
		return nil, err
	}
	name, value := c.in.str("AttributeName"), c.in.str("AttributeValue")
	if err := c.checkSubscription(map[string]string{name: value}); err != nil {
		return nil, err
	}
	if th.body.sub("Attributes")[name] = value; value == "" {
		delete(th.body.sub("Attributes"), name)
	}
	return nil, nil
}
