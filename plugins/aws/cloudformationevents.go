package aws

import (
	"context"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// act is the last thing that was done to a stack: its events, the oldest first,
// and the client token that it was begun with.
type act struct {
	token  string
	events []types.StackEvent
}

// lastAct reads back to the event that began it.
func (t *stack) lastAct(ctx context.Context) (act, error) {
	var a act
	pages := cloudformation.NewDescribeStackEventsPaginator(t.s.cloudFormation(), &cloudformation.DescribeStackEventsInput{StackName: &t.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noStack(err) {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		for _, e := range page.StackEvents {
			a.events = append([]types.StackEvent{e}, a.events...)
			begins := awssdk.ToString(e.ResourceType) == "AWS::CloudFormation::Stack" && awssdk.ToString(e.PhysicalResourceId) == awssdk.ToString(e.StackId) &&
				awssdk.ToString(e.ResourceStatusReason) == "User Initiated"
			if begins {
				a.token = awssdk.ToString(e.ClientRequestToken)
				return a, nil
			}
		}
	}
	return a, nil
}

// follow tells the events that were not told yet, and how far it is.
func (t *stack) follow(status string, a act) progress {
	at := progress{}
	ended := 0
	for _, e := range a.events {
		if s := string(e.ResourceStatus); strings.HasSuffix(s, "_COMPLETE") && awssdk.ToString(e.PhysicalResourceId) != awssdk.ToString(e.StackId) {
			ended++
		}
		if id := awssdk.ToString(e.EventId); !t.told[id] {
			t.told[id] = true
			at.lines = append(at.lines, eventLine(e))
		}
	}
	at.text = fmt.Sprintf("%s is %s (%d resources done)", t.title(), status, ended)
	return at
}

func eventLine(e types.StackEvent) string {
	line := fmt.Sprintf("%s %s %s", e.ResourceStatus, awssdk.ToString(e.ResourceType), awssdk.ToString(e.LogicalResourceId))
	if why := awssdk.ToString(e.ResourceStatusReason); why != "" {
		line += ": " + clip(oneLine(why), 500)
	}
	return line
}

// failed is the error for an act that ended badly: the reason of the resource
// that failed first, since the others were given up for it.
func (t *stack) failed(there *types.Stack, a act) error {
	why := oneLine(awssdk.ToString(there.StackStatusReason))
	for _, e := range a.events {
		reason := awssdk.ToString(e.ResourceStatusReason)
		given := strings.Contains(reason, "cancelled") || awssdk.ToString(e.PhysicalResourceId) == awssdk.ToString(e.StackId)
		if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") && !given {
			why = fmt.Sprintf("%s (%s): %s", awssdk.ToString(e.LogicalResourceId), awssdk.ToString(e.ResourceType), oneLine(reason))
			break
		}
	}
	return &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The %s is %s. %s. Correct the template or its parameters, or what holds the resource, and run the action again.", t.title(), there.StackStatus, clip(why, 500))}
}
