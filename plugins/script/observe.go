package script

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Observe implements sdk.Observer: it runs the part's check.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	j, err := x.open(ctx, step, nil)
	if err != nil {
		return sdk.Observation{}, err
	}
	if err := j.load(); err != nil {
		return sdk.Observation{}, err
	}
	o, err := j.observe(ctx)
	if ctx.Err() != nil {
		return sdk.Observation{}, ctx.Err()
	}
	if err == nil && o.Health != sdk.Absent {
		o.Links = j.rec.Links
	}
	return o, err
}

func (j *job) observe(ctx context.Context) (sdk.Observation, error) {
	if j.set.Contract == contractRun && j.set.Programs["check"] == nil {
		switch j.rec.Phase {
		case phaseCleaned, phaseArchived:
			return sdk.Observation{Health: sdk.Absent, Text: "It is " + string(j.rec.Phase) + "."}, nil
		}
		return sdk.Observation{Health: sdk.Unknown, Text: "The part has no program `check`, so that its health is not known."}, nil
	}
	if err := j.enter(false); err != nil {
		return sdk.Observation{}, err
	}
	defer j.close()
	code, last, archived, err := j.look(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	said := ""
	if last = clip(last, 300); last != "" {
		said = " It says: " + last
	}
	switch {
	case code == checkUp:
		return sdk.Observation{Health: sdk.Healthy}, nil
	case code == checkPartly:
		return sdk.Observation{Health: sdk.Degraded, Text: "check says that it is partly available." + said}, nil
	case code == checkTag:
		return sdk.Observation{Health: sdk.Degraded, Text: "check says that what runs has another tag." + said, Drift: []string{"What runs has another tag than what was deployed."}}, nil
	case code == checkAbsent && j.set.Contract == contractRun || j.rec.Phase == phaseCleaned || j.rec.Phase == phaseArchived || j.rec.Phase == phaseNone && archived:
		return sdk.Observation{Health: sdk.Absent, Text: "It is not there."}, nil
	case j.rec.Phase == phaseNone:
		return sdk.Observation{Health: sdk.Unknown, Text: fmt.Sprintf("check fails with exit status %d, and nothing is remembered that could tell whether it was ever there.%s", code, said)}, nil
	}
	return sdk.Observation{Health: sdk.Unhealthy, Text: fmt.Sprintf("check fails with exit status %d.%s", code, said)}, nil
}

// look runs the check, and, where nothing is remembered, what could tell that
// nothing is there.
func (j *job) look(ctx context.Context) (code int, last string, archived bool, err error) {
	if j.set.Contract == contractRun {
		code, last, err = j.checkGeneric(ctx)
		return code, last, false, err
	}
	if err := j.prepareHome(ctx); err != nil {
		return 0, "", false, err
	}
	c, err := j.lastConfigs(ctx)
	if err != nil {
		return 0, "", false, err
	}
	if code, last, err = j.check(ctx, c); err != nil || code == checkUp {
		if err == nil && j.rec.Links == nil {
			j.out = silent{}
			j.info(ctx, c) // nothing is remembered here: another replica made it
		}
		return code, last, false, err
	}
	if j.rec.Phase == phaseNone && code != checkPartly && code != checkTag {
		archived, err = j.isArchived(ctx, c)
	}
	return code, last, archived, err
}
