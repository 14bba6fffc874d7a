package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// plan says what a verb would do to the database and its snapshots.
func (t *database) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Cleanup {
		return t.planRemove(ctx, now)
	}
	if now != nil {
		if err := t.s.refuse(t.title(), now.tags); err != nil {
			return proposal{}, err
		}
	}
	switch verb {
	case sdk.Archive:
		return t.planArchive(now)
	case sdk.Restore:
		return t.planRestore(ctx, now)
	case sdk.Deploy:
		kept, err := t.kept(ctx)
		if err != nil {
			return proposal{}, err
		}
		return t.planDeploy(ctx, now, kept)
	}
	if now == nil {
		return proposal{}, sdk.Invalid("The %s is not there. Deploy or restore the environment first.", t.title())
	}
	return t.planPower(now, verb)
}

// resource is the database in a list of what a plan touches.
func (t *database) resource(c sdk.Change, destructive bool) sdk.Resource {
	return sdk.Resource{Kind: t.word, Name: t.name, Change: c, Destructive: destructive}
}

func (t *database) planPower(now *dbState, verb sdk.Verb) (proposal, error) {
	var p proposal
	stopped := now.status == "stopped"
	said := map[sdk.Verb]string{sdk.Sleep: "is stopped; its storage stays", sdk.Wake: "is started", sdk.Restart: "is rebooted"}[verb]
	if verb == sdk.Sleep && stopped || verb == sdk.Wake && !stopped {
		return proposal{lines: []string{"  " + t.title() + " stays as it is"}}, nil
	}
	p.lines = []string{"~ " + t.title() + " " + said}
	p.resources = []sdk.Resource{t.resource(sdk.ChangeUpdate, false)}
	if verb == sdk.Wake || verb == sdk.Restart {
		p.monthly, p.asks = t.cost(t.wanted(now), now)
	}
	return p, nil
}

func (t *database) planDeploy(ctx context.Context, now *dbState, kept *snapshot) (proposal, error) {
	if now == nil || now.status == "deleting" {
		from := kept
		if from == nil {
			var err error
			if from, err = t.source(ctx); err != nil {
				return proposal{}, err
			}
		}
		return t.planBegin(from, kept != nil, t.fresh())
	}
	if err := t.changeable(now); err != nil {
		return proposal{}, err
	}
	var p proposal
	want := t.wanted(now)
	what := want.change(now).lines()
	if now.status == "stopped" {
		what = append(what, "is started")
	}
	if len(missingTags(now.tags, t.tags())) > 0 {
		what = append(what, "gets other tags")
	}
	if len(what) > 0 {
		p.lines = []string{"~ " + t.title() + ": " + strings.Join(what, "; ")}
		p.resources = []sdk.Resource{t.resource(sdk.ChangeUpdate, false)}
	}
	p.inputs = t.pinned(now.tags[tagFrom])
	p.monthly, p.asks = t.cost(want, now)
	return p, nil
}

// pinned are the inputs of a plan: the snapshot that settings stand for. Once the
// database is there, it is the one that it was made from.
func (t *database) pinned(arn string) map[string]string {
	if arn == "" || t.Snapshot == "" && t.From == nil {
		return nil
	}
	return map[string]string{t.kind + " snapshot": arn}
}

func (t *database) planBegin(from *snapshot, own bool, want dbWant) (proposal, error) {
	var p proposal
	origin := "fresh"
	if from != nil {
		if err := t.fits(from); err != nil {
			return p, err
		}
		origin = fmt.Sprintf("from snapshot %q", from.id)
		if !from.createdAt.IsZero() {
			origin += " of " + from.createdAt.UTC().Format(time.RFC3339)
		}
		if !own {
			p.inputs = t.pinned(from.arn)
		}
	}
	engine := strings.TrimSpace(t.Engine + " " + t.Version)
	if from != nil {
		engine = strings.TrimSpace(from.engine + " " + from.version)
	}
	as := &dbState{}
	if from != nil {
		as.storage = from.storage
	}
	p.monthly, p.asks = t.cost(want, as)
	said := slices.DeleteFunc([]string{engine, p.asks, origin}, func(s string) bool { return s == "" })
	p.lines = []string{"+ " + t.title() + ": " + strings.Join(said, ", ")}
	if want.public != nil && *want.public {
		p.lines = append(p.lines, "+ "+t.title()+" can be reached from the internet")
	}
	p.resources = []sdk.Resource{t.resource(sdk.ChangeCreate, false)}
	return p, nil
}

func (t *database) planArchive(now *dbState) (proposal, error) {
	if now == nil || now.status == "deleting" {
		return proposal{lines: []string{"  " + t.title() + " is not there"}}, nil
	}
	if now.protected {
		return proposal{}, t.protected()
	}
	last := finalName(t.name, now.resourceID)
	return proposal{
		lines:     []string{fmt.Sprintf("+ snapshot %q", last), "- " + t.title() + ", once its snapshot is taken"},
		resources: []sdk.Resource{{Kind: t.word + " snapshot", Name: last, Change: sdk.ChangeCreate}, t.resource(sdk.ChangeDelete, false)},
	}, nil
}

func (t *database) planRestore(ctx context.Context, now *dbState) (proposal, error) {
	kept, err := t.kept(ctx)
	if err != nil {
		return proposal{}, err
	}
	switch {
	case now == nil && kept == nil:
		return proposal{}, t.gone()
	case !t.s.step.AsWas:
		return t.planDeploy(ctx, now, kept)
	case now == nil || now.status == "deleting":
		if kept == nil {
			return proposal{}, t.gone()
		}
		return t.plain().planBegin(kept, true, remembered(kept.tags))
	}
	var p proposal
	if now.status == "stopped" {
		p.lines = []string{"~ " + t.title() + " is started"}
		p.resources = []sdk.Resource{t.resource(sdk.ChangeUpdate, false)}
	}
	p.monthly, p.asks = t.cost(dbWant{}, now)
	return p, nil
}

func (t *database) planRemove(ctx context.Context, now *dbState) (proposal, error) {
	var p proposal
	finals, err := t.finals(ctx)
	if err != nil {
		return p, err
	}
	if now != nil && t.s.mine(now.tags) {
		if now.protected {
			return p, t.protected()
		}
		keeps := t.retention(now.tags)
		p.lines = append(p.lines, "- "+t.title()+" with its data and automatic backups")
		if !keeps.none() {
			p.lines = append(p.lines, fmt.Sprintf("+ snapshot %q, kept %s", finalName(t.name, now.resourceID), keeps.span()))
		}
		p.resources = append(p.resources, t.resource(sdk.ChangeDelete, keeps.none()))
	}
	drop, keep := t.sort(finals)
	if now != nil && t.s.mine(now.tags) { // its own last snapshot will be the newest
		for _, n := range keep {
			if n.tags[tagRetained] == "" {
				drop = append(drop, n)
			}
		}
	}
	for _, n := range drop {
		p.lines = append(p.lines, fmt.Sprintf("- snapshot %q", n.id))
		p.resources = append(p.resources, sdk.Resource{Kind: t.word + " snapshot", Name: n.id, Change: sdk.ChangeDelete, Destructive: true})
	}
	return p, nil
}

// cost is what a database asks for and costs in a month, 0 where no price is
// known.
func (t *database) cost(want dbWant, now *dbState) (monthly float64, asks string) {
	class, storage, storageType := want.class, want.storage, t.StorageType
	if class == "" {
		class = now.class
	}
	if storage < now.storage {
		storage = now.storage
	}
	if storageType == "" {
		storageType = now.storageType
	}
	count, least, most := max(want.instances, now.instances, 1), want.minCapacity, want.maxCapacity
	if want.instances > 0 {
		count = want.instances
	}
	if most == 0 {
		least, most = now.minCapacity, now.maxCapacity
	}
	if t.kind == "aurora" {
		storage = 0 // it is measured by use
	}
	asks = sizeOf(class, storage, storageType, count, least, most)
	hourly := classHourly[t.kind][class]
	if class == serverlessClass {
		hourly = least * acuHourly
	}
	if hourly == 0 {
		return 0, asks
	}
	times := float64(count)
	if want.multiAZ != nil && *want.multiAZ || want.multiAZ == nil && now.multiAZ {
		times, asks = 2, asks+" in two zones"
	}
	return times * (hourly*hoursOfMonth + float64(storage)*gibMonthly), asks
}
