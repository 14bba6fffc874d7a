package awstest

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var queueOps = map[string]func(*call) (params, *apiError){
	"CreateQueue": createQueue, "DeleteQueue": deleteQueue, "GetQueueUrl": getQueueURL, "GetQueueAttributes": getQueueAttributes,
	"SetQueueAttributes": setQueueAttributes, "TagQueue": tagQueue, "UntagQueue": untagQueue, "ListQueueTags": listQueueTags, "ListQueues": listQueues,
}

// queueName is what a queue may be called.
// Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$|^[A-Za-z0-9_-]{1,75}\.fifo$`)

// afterDelete is how long the name of a queue that was deleted stays taken.
// Source: as above.
const afterDelete = 60 * time.Second

// queueDefaults are the attributes of a queue of which nothing is said.
var queueDefaults = map[string]string{
	"VisibilityTimeout": "30", "MaximumMessageSize": "262144", "MessageRetentionPeriod": "345600", "DelaySeconds": "0",
	"ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
}

// queueRanges are what numbers they may be.
var queueRanges = map[string][2]int{
	"VisibilityTimeout": {0, 43200}, "MaximumMessageSize": {1024, 262144}, "MessageRetentionPeriod": {60, 1209600},
	"DelaySeconds": {0, 900}, "ReceiveMessageWaitTimeSeconds": {0, 20}, "KmsDataKeyReusePeriodSeconds": {60, 86400},
}

func (c *call) checkQueue(name string, attrs map[string]string) *apiError {
	fifo := strings.HasSuffix(name, ".fifo")
	for k, v := range attrs {
		if r, ok := queueRanges[k]; ok {
			if n, err := strconv.Atoi(v); err != nil || n < r[0] || n > r[1] {
				return fail("InvalidAttributeValue", "Invalid value for the parameter %s.", k)
			}
		}
		switch k {
		case "FifoQueue":
			if v != "true" || !fifo {
				return fail("InvalidAttributeValue", "The name of a FIFO queue has to end with .fifo, and FifoQueue to be true.")
			}
		case "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
			if !fifo {
				return fail("InvalidAttributeName", "Unknown Attribute %s.", k)
			}
		case "RedrivePolicy":
			if err := c.checkRedrive(v, fifo); err != nil {
				return err
			}
		case "Policy":
			if !json.Valid([]byte(v)) {
				return fail("InvalidAttributeValue", "Invalid value for the parameter Policy.")
			}
		}
	}
	if fifo && attrs["FifoQueue"] != "true" {
		return fail("InvalidAttributeValue", "The queue name ends with .fifo, but FifoQueue is not true.")
	}
	return nil
}

func (c *call) checkRedrive(text string, fifo bool) *apiError {
	if text == "" {
		return nil
	}
	var policy struct {
		DeadLetterTargetArn string      `json:"deadLetterTargetArn"`
		MaxReceiveCount     json.Number `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(text), &policy) != nil {
		return fail("InvalidAttributeValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Redrive policy is not a valid JSON map.", text)
	}
	name := policy.DeadLetterTargetArn[strings.LastIndex(policy.DeadLetterTargetArn, ":")+1:]
	n, err := policy.MaxReceiveCount.Int64()
	switch {
	case err != nil || n < 1 || n > 1000:
		return fail("InvalidAttributeValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.", text, policy.MaxReceiveCount)
	case c.find("queue", name) == nil:
		return fail("InvalidAttributeValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.", text)
	case strings.HasSuffix(name, ".fifo") != fifo:
		return fail("InvalidAttributeValue", "Value %s for parameter RedrivePolicy is invalid. Reason: Dead-letter queue must be same type of queue as the source.", text)
	}
	return nil
}

func (c *call) queueURL(name string) string { return c.s.URL + "/" + c.account + "/" + name }

func createQueue(c *call) (params, *apiError) {
	name, attrs := c.in.str("QueueName"), c.in.texts("Attributes")
	if !queueName.MatchString(name) {
		return nil, fail("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	if err := c.checkQueue(name, attrs); err != nil {
		return nil, err
	}
	if old := c.find("queue", name); old != nil {
		have := old.body.texts("Attributes")
		for k, v := range attrs {
			if have[k] != v {
				return nil, fail("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", k)
			}
		}
		return params{"QueueUrl": c.queueURL(name)}, nil
	}
	key := strings.Join([]string{c.account, c.region, "sqs", name}, "/")
	if at, ok := c.s.gone[key]; ok && c.s.now().Sub(at) < afterDelete {
		return nil, fail("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	}
	all := params{"CreatedTimestamp": strconv.FormatInt(c.s.now().Unix(), 10), "QueueArn": c.arn(name)}
	for _, set := range []map[string]string{queueDefaults, attrs} {
		for k, v := range set {
			all[k] = v
		}
	}
	c.new("queue", name, c.arn(name), c.in.texts("tags"), params{"Attributes": all})
	return params{"QueueUrl": c.queueURL(name)}, nil
}

func (c *call) queue() (*thing, *apiError) {
	url := c.in.str("QueueUrl")
	name := url[strings.LastIndex(url, "/")+1:]
	if th := c.find("queue", name); th != nil && url == c.queueURL(name) {
		return th, nil
	}
	return nil, fail("QueueDoesNotExist", "The specified queue does not exist.")
}

func deleteQueue(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	c.s.drop(th)
	c.s.gone[strings.Join([]string{c.account, c.region, "sqs", th.id}, "/")] = c.s.now()
	return nil, nil
}

func getQueueURL(c *call) (params, *apiError) {
	if c.find("queue", c.in.str("QueueName")) == nil {
		return nil, fail("QueueDoesNotExist", "The specified queue does not exist.")
	}
	return params{"QueueUrl": c.queueURL(c.in.str("QueueName"))}, nil
}

func getQueueAttributes(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	names, out := c.in.strs("AttributeNames"), params{}
	all := th.body.sub("Attributes").with(params{"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0"})
	for k, v := range all {
		if slices.Contains(names, "All") || slices.Contains(names, k) {
			out[k] = v
		}
	}
	return params{"Attributes": out}, nil
}

func setQueueAttributes(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	attrs := th.body.texts("Attributes")
	if _, ok := c.in.texts("Attributes")["FifoQueue"]; ok {
		return nil, fail("InvalidAttributeName", "Unknown Attribute FifoQueue.")
	}
	maps.Copy(attrs, c.in.texts("Attributes"))
	if err := c.checkQueue(th.id, attrs); err != nil {
		return nil, err
	}
	for k, v := range attrs {
		th.body.sub("Attributes")[k] = v
		if v == "" {
			delete(th.body.sub("Attributes"), k)
		}
	}
	return nil, nil
}

func tagQueue(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	return nil, setTags(th, c.in.texts("Tags"), "InvalidParameterValue")
}

func untagQueue(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("TagKeys") {
		delete(th.tags, k)
	}
	return nil, nil
}

func listQueueTags(c *call) (params, *apiError) {
	th, err := c.queue()
	if err != nil {
		return nil, err
	}
	tags := params{}
	for k, v := range th.tags {
		tags[k] = v
	}
	return params{"Tags": tags}, nil
}

func listQueues(c *call) (params, *apiError) {
	all := slices.DeleteFunc(slices.Clone(c.all("queue")), func(th *thing) bool { return !strings.HasPrefix(th.id, c.in.str("QueueNamePrefix")) })
	limit := int(c.in.num("MaxResults"))
	if limit == 0 { // without it there are 1000, and no further page
		all = all[:min(len(all), 1000)]
		limit = len(all) + 1
	}
	got, next := page(all, c.in.str("NextToken"), limit, 1000)
	urls := []any{}
	for _, th := range got {
		urls = append(urls, c.queueURL(th.id))
	}
	out := params{"QueueUrls": urls}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}
