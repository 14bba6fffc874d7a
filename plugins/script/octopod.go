package script

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Octopod's names of what a deployment is in, as its notification script is told
// them. Source: deploymentStatusText in its Common.Types.
const (
	statusRunning  = "Running"
	statusFailure  = "GenericFailure"
	statusCreate   = "CreatePending" // of a restore, too
	statusUpdate   = "UpdatePending"
	statusArchive  = "ArchivePending"
	statusArchived = "Archived"
)

// runOctopod does a step of the contracts "v1" and "v2".
func (j *job) runOctopod(ctx context.Context) error {
	var do func(context.Context) error
	switch j.step.Verb {
	case sdk.Deploy, sdk.Rollback:
		do = j.octopodDeploy
	case sdk.Restore:
		do = j.octopodRestore
	case sdk.Archive:
		do = j.octopodArchive
	case sdk.Cleanup:
		do = j.octopodCleanup
	default:
		j.out.Log("Octopod's scripts cannot " + string(j.step.Verb) + "; the part is left as it is")
		return nil
	}
	if j.rec.Finished == j.step.ID && j.step.ID != "" {
		j.out.Log("an earlier try of this step has done it already")
		j.tell()
		return nil
	}
	if err := j.complete(); err != nil {
		return err
	}
	if err := j.prepareHome(ctx); err != nil {
		return err
	}
	return do(ctx)
}

// complete checks that the scripts that every deployment needs sooner or later
// are there before the first of them is run.
func (j *job) complete() error {
	for _, name := range []string{"create", "update", "archive", "cleanup", "check"} {
		if _, err := j.octopodPath(name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.set.Commands)) {
		if _, err := j.octopodPath(name); err != nil {
			return err
		}
	}
	return nil
}

// octopodDeploy creates what is not there yet and updates what is.
func (j *job) octopodDeploy(ctx context.Context) error {
	configs, err := j.fullConfigs(ctx)
	if err != nil {
		return err
	}
	script, err := j.createOrUpdate(ctx, configs)
	if err != nil {
		return err
	}
	before, pending := j.status(), statusUpdate
	switch script {
	case "create":
		before, pending = statusCreate, statusCreate
	case "unarchive":
		pending = statusCreate
	}
	return j.bringUp(ctx, script, configs, before, pending)
}

// createOrUpdate is the script that a deploy runs. A create that never succeeded
// is run again as one, whatever a crash has left of it.
func (j *job) createOrUpdate(ctx context.Context, c configs) (string, error) {
	switch j.rec.Phase {
	case phaseCreating, phaseCleaned, phaseCleaning:
		return "create", nil
	case phaseCreated:
		return "update", nil
	case phaseArchived, phaseRestoring:
		return j.restoring(), nil
	case phaseArchiving:
		archived, err := j.isArchived(ctx, c)
		if err == nil && archived {
			return j.restoring(), nil
		}
		return "update", err
	}
	code, _, err := j.check(ctx, c)
	if err != nil {
		return "", err
	}
	switch code {
	case checkUp, checkPartly, checkTag:
		j.out.Log("nothing is remembered of this part, and check finds it: it is updated")
		return "update", nil
	}
	return "create", nil
}

// restoring is the script that brings an archived deployment back.
func (j *job) restoring() string {
	if j.set.Contract == contractV1 {
		return "create" // version 1 has no unarchive
	}
	return "unarchive"
}

func (j *job) octopodRestore(ctx context.Context) error {
	full, err := j.fullConfigs(ctx)
	if err != nil {
		return err
	}
	if j.step.AsWas && j.rec.Phase != phaseNone && (len(j.rec.App) > 0 || len(j.rec.Deploy) > 0 || j.rec.Tag != "") {
		full = configs{tag: j.rec.Tag, app: j.rec.App, deployment: j.rec.Deploy}
	}
	switch j.rec.Phase {
	case phaseCleaned:
		return sdk.Invalid("The deployment %s was cleaned up and cannot be restored; deploy it anew.", j.set.Name)
	case phaseCreated:
		if code, _, err := j.check(ctx, full); err == nil && code == checkUp {
			j.tell()
			return j.finished(phaseCreated)
		}
	}
	return j.bringUp(ctx, j.restoring(), full, statusArchived, statusCreate)
}

// bringUp is Octopod's sequence of create, update and unarchive: config_check,
// info, the script, and check until it is good.
func (j *job) bringUp(ctx context.Context, script string, c configs, before, pending string) (err error) {
	if err := j.configCheck(ctx, c); err != nil {
		return err
	}
	j.info(ctx, c)
	if before != pending {
		j.notify(ctx, before, pending, c)
	}
	defer func() {
		after := statusRunning
		if err != nil {
			after = statusFailure
		}
		if ctx.Err() == nil {
			j.notify(ctx, pending, after, c)
		}
	}()
	j.rec.Tag, j.rec.App, j.rec.Deploy = c.tag, c.app, c.deployment
	begun := map[string]phase{"create": phaseCreating, "update": phaseCreated, "unarchive": phaseRestoring}[script]
	if script == "create" && j.step.Verb == sdk.Restore {
		begun = phaseRestoring
	}
	if err := j.phase(begun); err != nil {
		return err
	}
	j.out.Progress(script+" runs", 0, 0)
	r, err := j.octopod(ctx, script, c)
	if err != nil {
		return err
	}
	if r.code != 0 {
		return sdk.Downstream("%s failed with exit status %d.%s", script, r.code, behind(lastSaid(r.last)))
	}
	if err := j.phase(phaseCreated); err != nil {
		return err
	}
	if err := j.poll(ctx, "check", func(ctx context.Context) (int, string, error) { return j.check(ctx, c) }); err != nil {
		return err
	}
	j.tell()
	return j.finished(phaseCreated)
}

// configCheck has the scripts judge the configuration before anything is done.
func (j *job) configCheck(ctx context.Context, c configs) error {
	name := "config_check"
	if j.set.Contract == contractV1 {
		name = "tag_check"
	}
	if j.file(name) == "" {
		return nil
	}
	r, err := j.octopodAnswer(ctx, name, c, true)
	if err != nil {
		return err
	}
	if r.code == 0 {
		return nil
	}
	said := strings.TrimSpace(j.mask.text(r.stdout, 0))
	for line := range strings.Lines(said) {
		j.out.Log(name + ": " + clip(printable(strings.TrimRight(line, "\n")), maxLine))
	}
	if name == "tag_check" && said == "" {
		said = fmt.Sprintf("there is no tag %q", clip(c.tag, 100))
	}
	if said == "" {
		said = r.last
	}
	return sdk.Invalid("%s refuses the configuration: %s", name, clip(said, 800))
}

// info has the scripts say the links. When they cannot, the old links stay.
func (j *job) info(ctx context.Context, c configs) {
	if j.file("info") == "" {
		return
	}
	r, err := j.octopodAnswer(ctx, "info", c, true)
	if err == nil && r.code != 0 {
		err = fmt.Errorf("exit status %d", r.code)
	}
	if err == nil {
		err = j.takeLinks(r.stdout)
	}
	if err != nil && ctx.Err() == nil {
		j.out.Log("info: the old links stay: " + clip(j.mask.text(err.Error(), 0), 300))
	}
}

// notify tells the team's own script, which nothing depends on.
func (j *job) notify(ctx context.Context, before, after string, c configs) {
	path := j.file("notification")
	if path == "" {
		return
	}
	args := append(j.named(), "--old-status", before, "--new-status", after)
	if j.set.Contract == contractV1 {
		args = append(args, "--tag", c.tag)
	}
	r, err := j.do(ctx, ask{name: "notification", path: path, args: args})
	if err == nil && r.code != 0 {
		err = fmt.Errorf("exit status %d", r.code)
	}
	if err != nil && ctx.Err() == nil {
		j.out.Log("notification: it failed, which changes nothing else: " + clip(j.mask.text(err.Error(), 0), 200))
	}
}

// status is what Octopod would say of the part now.
func (j *job) status() string {
	switch j.rec.Phase {
	case phaseArchived:
		return statusArchived
	case phaseCreated, phaseNone:
		return statusRunning
	}
	return statusFailure
}

func (j *job) octopodArchive(ctx context.Context) error {
	c, err := j.lastConfigs(ctx)
	if err != nil {
		return err
	}
	if j.rec.Phase == phaseArchived || j.rec.Phase == phaseCleaned {
		return j.finished(j.rec.Phase)
	}
	if j.rec.Phase == phaseNone {
		archived, err := j.isArchived(ctx, c)
		if err != nil {
			return err
		}
		if archived {
			return j.finished(phaseArchived)
		}
	}
	if err := j.takeDown(ctx, c); err != nil {
		return err
	}
	return j.finished(phaseArchived)
}

// takeDown archives and waits for archive_check.
func (j *job) takeDown(ctx context.Context, c configs) (err error) {
	before := j.status()
	j.notify(ctx, before, statusArchive, c)
	defer func() {
		after := statusArchived
		if err != nil {
			after = statusFailure
		}
		if ctx.Err() == nil {
			j.notify(ctx, statusArchive, after, c)
		}
	}()
	if err := j.phase(phaseArchiving); err != nil {
		return err
	}
	j.out.Progress("archive runs", 0, 0)
	r, err := j.octopod(ctx, "archive", c)
	if err != nil {
		return err
	}
	if r.code != 0 {
		if archived, err := j.isArchived(ctx, c); err != nil || !archived || j.file("archive_check") == "" {
			return sdk.Downstream("archive failed with exit status %d.%s", r.code, behind(lastSaid(r.last))).WithRetry()
		}
		j.out.Log("archive failed, but archive_check finds nothing left")
	}
	if j.file("archive_check") != "" {
		if err := j.poll(ctx, "archive_check", func(ctx context.Context) (int, string, error) {
			r, err := j.octopodQuiet(ctx, "archive_check", c)
			return r.code, r.last, err
		}); err != nil {
			return err
		}
	}
	return j.phase(phaseArchived)
}

// isArchived asks archive_check; without that script nobody can tell.
func (j *job) isArchived(ctx context.Context, c configs) (bool, error) {
	if j.file("archive_check") == "" {
		return false, nil
	}
	r, err := j.octopodQuiet(ctx, "archive_check", c)
	return err == nil && r.code == 0, err
}

// octopodCleanup archives what still runs, and then cleans up: Octopod's cleanup
// scripts expect that nothing runs any more.
func (j *job) octopodCleanup(ctx context.Context) error {
	if j.rec.Phase == phaseCleaned {
		return j.finished(phaseCleaned)
	}
	c, err := j.lastConfigs(ctx)
	if err != nil {
		return err
	}
	archived := j.rec.Phase == phaseArchived || j.rec.Phase == phaseCleaning
	if j.rec.Phase == phaseNone {
		if archived, err = j.isArchived(ctx, c); err != nil {
			return err
		}
	}
	if !archived {
		if err := j.takeDown(ctx, c); err != nil {
			return err
		}
	}
	if err := j.phase(phaseCleaning); err != nil {
		return err
	}
	j.out.Progress("cleanup runs", 0, 0)
	r, err := j.octopod(ctx, "cleanup", c)
	if err != nil {
		return err
	}
	if r.code != 0 {
		return sdk.Downstream("cleanup failed with exit status %d.%s", r.code, behind(lastSaid(r.last))).WithRetry()
	}
	j.gone("Octopod deployment")
	j.place.forgetOld(j.now())
	return j.finished(phaseCleaned)
}

// check runs Octopod's check and is its exit status and last line.
func (j *job) check(ctx context.Context, c configs) (int, string, error) {
	r, err := j.octopodQuiet(ctx, "check", c)
	return r.code, r.last, err
}
