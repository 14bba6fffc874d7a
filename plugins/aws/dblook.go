package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// outputs are where the database is, and the secret that AWS keeps its password
// in.
func (t *database) outputs(ctx context.Context) (map[string]string, error) {
	now, err := t.there(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{
		"name": t.name, "arn": now.arn, "address": now.address, "port": fmt.Sprint(now.port), "engine": now.engine, "username": now.username,
		"endpoint": fmt.Sprintf("%s:%d", now.address, now.port), "secret": now.secretARN, "database": now.database, "reader": now.reader,
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out, nil
}

func (t *database) observe(ctx context.Context) (report, error) {
	now, err := t.api.look(ctx)
	switch {
	case err != nil:
		return report{}, err
	case now == nil || now.status == "deleting":
		return report{health: sdk.Absent}, nil
	case !t.s.mine(now.tags):
		return report{health: sdk.Unhealthy, text: "The " + t.title() + " is not Berth's: its tags are gone or another's."}, nil
	}
	r := report{health: sdk.Degraded, text: "The " + t.title() + " is " + now.status + "."}
	switch busy := now.membersBusy(); {
	case broken(now.status):
		r.health = sdk.Unhealthy
	case now.status == "stopped":
		r.text = "The " + t.title() + " is stopped."
		if !now.restartAt.IsZero() {
			r.text = "The " + t.title() + " is stopped; AWS starts it again at " + now.restartAt.UTC().Format(time.RFC3339) + "."
		}
	case busy != "" && slices.Contains(dbReady, now.status):
		r.text = "The " + t.title() + ": " + busy + "."
	case slices.Contains(dbReady, now.status), slices.Contains(dbAtWork, now.status):
		r.health, r.text = sdk.Healthy, ""
	}
	r.facts = []sdk.Fact{{Name: "status", Text: now.status}, {Name: "size", Text: now.size()}, {Name: "engine", Text: now.engine + " " + now.version}}
	for _, line := range t.wanted(now).change(now).lines() {
		r.drift = append(r.drift, "The "+t.title()+" differs from its settings: "+line+".")
	}
	if len(missingTags(now.tags, t.tags())) > 0 {
		r.drift = append(r.drift, "The "+t.title()+" lacks tags that it was deployed with.")
	}
	return r, nil
}

// size is "db.t4g.micro, 20 GiB gp3".
func (d *dbState) size() string {
	return sizeOf(d.class, d.storage, d.storageType, d.instances, d.minCapacity, d.maxCapacity)
}

func sizeOf(class string, storage int32, storageType string, instances int32, least, most float64) string {
	var out []string
	if instances > 1 {
		class = fmt.Sprintf("%d × %s", instances, class)
	}
	if class != "" {
		out = append(out, class)
	}
	if most > 0 && strings.HasSuffix(class, serverlessClass) { // each of the instances
		out = append(out, fmt.Sprintf("%g to %g ACUs", least, most))
	}
	if storage > 0 {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d GiB %s", storage, storageType)))
	}
	return strings.Join(out, ", ")
}
