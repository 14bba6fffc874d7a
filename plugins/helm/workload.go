package helm

import (
	"context"

	"github.com/berth-dev/berth/plugins/sdk"
)

// workloadVerbs are the verbs on running workloads that Describe names.
var workloadVerbs []sdk.Verb

func (x *Executor) sleep(context.Context, sdk.Step, sdk.Events) error   { return x.cannot(sdk.Sleep) }
func (x *Executor) wake(context.Context, sdk.Step, sdk.Events) error    { return x.cannot(sdk.Wake) }
func (x *Executor) restart(context.Context, sdk.Step, sdk.Events) error { return x.cannot(sdk.Restart) }

func (x *Executor) planSleep(context.Context, sdk.Step) (sdk.Plan, error) {
	return sdk.Plan{}, x.cannot(sdk.Sleep)
}

func (x *Executor) planWake(context.Context, sdk.Step) (sdk.Plan, error) {
	return sdk.Plan{}, x.cannot(sdk.Wake)
}

func (x *Executor) planRestart(context.Context, sdk.Step) (sdk.Plan, error) {
	return sdk.Plan{}, x.cannot(sdk.Restart)
}
