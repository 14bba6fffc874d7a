package awstest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	r53types "github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/berth-dev/berth/plugins/aws/awstest"
)

func record(name string, kind r53types.RRType, values ...string) *r53types.ResourceRecordSet {
	r := &r53types.ResourceRecordSet{Name: &name, Type: kind, TTL: aws.Int64(60)}
	for _, v := range values {
		r.ResourceRecords = append(r.ResourceRecords, r53types.ResourceRecord{Value: &v})
	}
	return r
}

func TestRoute53RefusesWhatAWSRefuses(t *testing.T) {
	const create, remove, upsert = r53types.ChangeActionCreate, r53types.ChangeActionDelete, r53types.ChangeActionUpsert
	type change = r53types.Change
	one := func(a r53types.ChangeAction, r *r53types.ResourceRecordSet) change {
		return change{Action: a, ResourceRecordSet: r}
	}
	tests := map[string]struct {
		changes []change
		want    string // in the error; "" is success
	}{
		"a new record":                     {[]change{one(create, record("b.shop.example.org", "A", "192.0.2.1"))}, ""},
		"a record that is there":           {[]change{one(create, record("a.shop.example.org", "A", "192.0.2.2"))}, "already exists"},
		"a deletion with another value":    {[]change{one(remove, record("a.shop.example.org", "A", "192.0.2.2"))}, "do not match"},
		"a deletion of nothing":            {[]change{one(remove, record("x.shop.example.org", "A", "192.0.2.2"))}, "not found"},
		"a deletion and a creation":        {[]change{one(remove, record("a.shop.example.org.", "A", "192.0.2.1")), one(create, record("a.shop.example.org", "CNAME", "x.example.org"))}, ""},
		"a name outside of the zone":       {[]change{one(create, record("a.example.com", "A", "192.0.2.1"))}, "not permitted in zone"},
		"a name that only looks inside":    {[]change{one(create, record("ashop.example.org", "A", "192.0.2.1"))}, "not permitted in zone"},
		"a CNAME beside an A":              {[]change{one(create, record("a.shop.example.org", "CNAME", "x.example.org"))}, "conflicts"},
		"a CNAME at the apex":              {[]change{one(create, record("shop.example.org", "CNAME", "x.example.org"))}, "conflicts with other|apex"},
		"an address that is none":          {[]change{one(create, record("c.shop.example.org", "A", "192.0.2.300"))}, "IllegalIPv4"},
		"a text without quotation marks":   {[]change{one(create, record("c.shop.example.org", "TXT", "hello"))}, "quotation marks"},
		"a text that is too long":          {[]change{one(create, record("c.shop.example.org", "TXT", `"`+strings.Repeat("x", 256)+`"`))}, "TooLong"},
		"the same change twice":            {[]change{one(upsert, record("c.shop.example.org", "A", "192.0.2.1")), one(upsert, record("C.shop.example.org.", "A", "192.0.2.2"))}, "invalid set of changes"},
		"the zone's own name servers gone": {[]change{one(remove, record("shop.example.org", "NS", "ns-1.awsdns-00.com.", "ns-2.awsdns-00.net."))}, "do not match|at least one NS"},
		"a good one with a bad one":        {[]change{one(create, record("d.shop.example.org", "A", "192.0.2.1")), one(create, record("a.shop.example.org", "A", "192.0.2.2"))}, "already exists"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := awstest.New(t, awstest.Options{})
			zone := s.AddZone(awstest.Account, "shop.example.org")
			client := route53.NewFromConfig(impatient(s))
			send := func(changes []change) error {
				_, err := client.ChangeResourceRecordSets(t.Context(), &route53.ChangeResourceRecordSetsInput{HostedZoneId: aws.String("/hostedzone/" + zone), ChangeBatch: &r53types.ChangeBatch{Changes: changes}})
				return err
			}
			if err := send([]change{one(create, record("A.shop.example.org", "A", "192.0.2.1"))}); err != nil {
				t.Fatal(err)
			}
			before := s.Dump()
			err := send(tt.changes)
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			refused, ok := errors.AsType[*r53types.InvalidChangeBatch](err)
			if !ok || !slices.ContainsFunc(strings.Split(tt.want, "|"), func(w string) bool { return strings.Contains(strings.Join(refused.Messages, "\n"), w) }) {
				t.Errorf("got %v", err)
			}
			if s.Dump() != before {
				t.Error("something of the batch was done")
			}
		})
	}
}

func TestRoute53ListsInPagesAndTakesTime(t *testing.T) {
	s := awstest.New(t, awstest.Options{Page: 2, Polls: 1})
	ctx, zone, client := t.Context(), s.AddZone(awstest.Account, "shop.example.org"), route53.NewFromConfig(impatient(s))
	var changes []r53types.Change
	for i := range 4 {
		changes = append(changes, r53types.Change{Action: "CREATE", ResourceRecordSet: record(fmt.Sprintf("n%d.shop.example.org", i), "A", "192.0.2.1")})
	}
	changes = append(changes, r53types.Change{Action: "CREATE", ResourceRecordSet: record("*.shop.example.org", "TXT", `"a" "b"`)})
	out := must[*route53.ChangeResourceRecordSetsOutput](t)(client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: &zone, ChangeBatch: &r53types.ChangeBatch{Changes: changes}}))
	var seen []string
	for range 3 {
		seen = append(seen, string(must[*route53.GetChangeOutput](t)(client.GetChange(ctx, &route53.GetChangeInput{Id: out.ChangeInfo.Id})).ChangeInfo.Status))
	}
	if !slices.Equal(seen, []string{"PENDING", "INSYNC", "INSYNC"}) {
		t.Errorf("the change was %q", seen)
	}
	var names []string
	for pages := route53.NewListResourceRecordSetsPaginator(client, &route53.ListResourceRecordSetsInput{HostedZoneId: &zone}); pages.HasMorePages(); {
		for _, r := range must[*route53.ListResourceRecordSetsOutput](t)(pages.NextPage(ctx)).ResourceRecordSets {
			names = append(names, *r.Name+" "+string(r.Type))
		}
	}
	if len(names) != 7 || !slices.Contains(names, `\052.shop.example.org. TXT`) {
		t.Errorf("records are %q", names)
	}
	if got := s.Records(zone); len(got) != 7 {
		t.Errorf("the test sees %v", got)
	}
	zones := must[*route53.ListHostedZonesOutput](t)(client.ListHostedZones(ctx, &route53.ListHostedZonesInput{}))
	if len(zones.HostedZones) != 1 || *zones.HostedZones[0].ResourceRecordSetCount != 7 {
		t.Errorf("zones are %v", zones.HostedZones)
	}
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestQueuesKeepTheirNamesForAMinute(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	ctx, client := t.Context(), sqs.NewFromConfig(impatient(s))
	name := aws.String("berth-shop-pr-42-jobs")
	in := &sqs.CreateQueueInput{QueueName: name, Attributes: map[string]string{"VisibilityTimeout": "60"}, Tags: map[string]string{"berth:app": "shop"}}
	first := must[*sqs.CreateQueueOutput](t)(client.CreateQueue(ctx, in))
	if again := must[*sqs.CreateQueueOutput](t)(client.CreateQueue(ctx, in)); *again.QueueUrl != *first.QueueUrl {
		t.Errorf("%s is not %s", *again.QueueUrl, *first.QueueUrl)
	}
	in.Attributes["VisibilityTimeout"] = "61"
	if _, err := client.CreateQueue(ctx, in); !strings.Contains(code(err), "Queue") {
		t.Errorf("with other attributes: %v", err)
	}
	if got := must[*sqs.ListQueueTagsOutput](t)(client.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: first.QueueUrl})); got.Tags["berth:app"] != "shop" {
		t.Errorf("tags are %v", got.Tags)
	}
	must[*sqs.DeleteQueueOutput](t)(client.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: first.QueueUrl}))
	if _, err := client.CreateQueue(ctx, in); !strings.Contains(code(err), "QueueDeletedRecently") {
		t.Errorf("right after its deletion: %v", err)
	}
	s.Advance(time.Minute)
	must[*sqs.CreateQueueOutput](t)(client.CreateQueue(ctx, in))
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestTopicsSubscribeQueuesOnce(t *testing.T) {
	s := awstest.New(t, awstest.Options{Page: 1})
	ctx, client := t.Context(), sns.NewFromConfig(impatient(s))
	topic := must[*sns.CreateTopicOutput](t)(client.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("a"), Attributes: map[string]string{"DisplayName": "x"}}))
	sub := &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:" + region + ":" + awstest.Account + ":q"), Attributes: map[string]string{"RawMessageDelivery": "true"}}
	one, two := must[*sns.SubscribeOutput](t)(client.Subscribe(ctx, sub)), must[*sns.SubscribeOutput](t)(client.Subscribe(ctx, sub))
	if *one.SubscriptionArn != *two.SubscriptionArn {
		t.Error("subscribed twice")
	}
	must[*sns.CreateTopicOutput](t)(client.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("b")}))
	n := 0
	for pages := sns.NewListTopicsPaginator(client, &sns.ListTopicsInput{}); pages.HasMorePages(); {
		n += len(must[*sns.ListTopicsOutput](t)(pages.NextPage(ctx)).Topics)
	}
	if n != 2 {
		t.Errorf("there are %d topics", n)
	}
	got := must[*sns.GetSubscriptionAttributesOutput](t)(client.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: one.SubscriptionArn}))
	if got.Attributes["RawMessageDelivery"] != "true" {
		t.Errorf("attributes are %v", got.Attributes)
	}
	must[*sns.DeleteTopicOutput](t)(client.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: topic.TopicArn}))
	if got := s.Things(); !slices.Equal(got, []string{"sns:topic b"}) {
		t.Errorf("left are %q", got)
	}
}

func TestRepositoriesWithImagesStay(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	ctx, client, name := t.Context(), ecr.NewFromConfig(impatient(s)), aws.String("berth/shop")
	must[*ecr.CreateRepositoryOutput](t)(client.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: name, Tags: []ecrtypes.Tag{{Key: aws.String("berth:app"), Value: aws.String("shop")}}}))
	must[*ecr.PutImageOutput](t)(client.PutImage(ctx, &ecr.PutImageInput{RepositoryName: name, ImageManifest: aws.String("{}"), ImageTag: aws.String("1")}))
	if _, err := client.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: name}); code(err) != "RepositoryNotEmptyException" {
		t.Errorf("deleted with its images: %v", err)
	}
	must[*ecr.DeleteRepositoryOutput](t)(client.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: name, Force: true}))
}

func TestEKSTellsHowToReachACluster(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	s.AddCluster(awstest.Cluster{Account: awstest.Account, Region: region, Name: "prod", Endpoint: "https://127.0.0.1:1", CA: "Y2E="})
	client := eks.NewFromConfig(impatient(s))
	got := must[*eks.DescribeClusterOutput](t)(client.DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: aws.String("prod")}))
	if *got.Cluster.Endpoint != "https://127.0.0.1:1" || *got.Cluster.CertificateAuthority.Data != "Y2E=" || got.Cluster.Identity.Oidc.Issuer == nil {
		t.Errorf("the cluster is %+v", got.Cluster)
	}
	if _, err := client.DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: aws.String("other")}); code(err) != "ResourceNotFoundException" {
		t.Errorf("one that is not there: %v", err)
	}
	in := &eks.CreatePodIdentityAssociationInput{ClusterName: aws.String("prod"), Namespace: aws.String("a"), ServiceAccount: aws.String("b"), RoleArn: aws.String("arn:aws:iam::111122223333:role/x"), ClientRequestToken: aws.String("t")}
	one, two := must[*eks.CreatePodIdentityAssociationOutput](t)(client.CreatePodIdentityAssociation(t.Context(), in)), must[*eks.CreatePodIdentityAssociationOutput](t)(client.CreatePodIdentityAssociation(t.Context(), in))
	if *one.Association.AssociationId != *two.Association.AssociationId {
		t.Error("the same token made two")
	}
}
