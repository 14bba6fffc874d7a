package aws

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// postgres is a part's settings with one database; more is added to it.
func postgres(more ...any) map[string]any {
	db := map[string]any{"engine": "postgres"}
	for i := 0; i < len(more); i += 2 {
		db[fmt.Sprint(more[i])] = more[i+1]
	}
	return map[string]any{"rds": db}
}

// refused checks that err is the user's fault and says what it should.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Fault != sdk.FaultInvalid {
		t.Fatalf("it says %v; want it refused", err)
	}
	for _, word := range words {
		if !strings.Contains(e.Msg, word) {
			t.Errorf("it says %q; want it to say %q", e.Msg, word)
		}
	}
}

// instance is the one database instance that there is.
func (w *world) instance(t *testing.T) rdstypes.DBInstance {
	t.Helper()
	out, err := rds.NewFromConfig(w.Config(testRegion)).DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
	if err != nil || len(out.DBInstances) != 1 {
		t.Fatalf("there are %d instances, error %v; want one", len(out.DBInstances), err)
	}
	return out.DBInstances[0]
}

// snapshots are the names of the manual snapshots that there are.
func (w *world) snapshots(t *testing.T) []string {
	t.Helper()
	out, err := rds.NewFromConfig(w.Config(testRegion)).DescribeDBSnapshots(t.Context(), &rds.DescribeDBSnapshotsInput{SnapshotType: awssdk.String("manual")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range out.DBSnapshots {
		names = append(names, awssdk.ToString(s.DBSnapshotIdentifier))
	}
	return names
}

func TestADatabaseIsMadeAsSafeAsItCanBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	out := w.must(t, w.step(sdk.Deploy, postgres("version", "16", "database", "shop", "storage", int64(30))))
	db := w.instance(t)
	if awssdk.ToBool(db.PubliclyAccessible) || !awssdk.ToBool(db.StorageEncrypted) || !awssdk.ToBool(db.CopyTagsToSnapshot) || awssdk.ToInt32(db.BackupRetentionPeriod) != 1 {
		t.Errorf("it is public %t, encrypted %t, copies tags %t, keeps backups for %d days", *db.PubliclyAccessible, *db.StorageEncrypted, *db.CopyTagsToSnapshot, *db.BackupRetentionPeriod)
	}
	arn := awssdk.ToString(db.MasterUserSecret.SecretArn)
	if arn == "" || out.outputs["secret"] != arn || out.outputs["rds_secret"] != arn {
		t.Errorf("the password is in %q, and the outputs are %v", arn, out.outputs)
	}
	for _, key := range []string{"name", "arn", "address", "port", "endpoint", "engine", "username", "database"} {
		if out.outputs[key] == "" {
			t.Errorf("there is no output %q", key)
		}
	}
}

func TestADatabaseIsChangedToItsSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		with map[string]any
		line string // of the plan
		is   func(db rdstypes.DBInstance) bool
	}{
		"another class":         {postgres("class", "db.t4g.small"), "class db.t4g.micro → db.t4g.small", func(db rdstypes.DBInstance) bool { return *db.DBInstanceClass == "db.t4g.small" }},
		"more storage":          {postgres("storage", int64(50)), "storage 20 GiB → 50 GiB", func(db rdstypes.DBInstance) bool { return *db.AllocatedStorage == 50 }},
		"another port":          {postgres("port", int64(6000)), "port 5432 → 6000", func(db rdstypes.DBInstance) bool { return *db.Endpoint.Port == 6000 }},
		"other storage":         {postgres("storage_type", "gp2"), "sort of storage gp3 → gp2", func(db rdstypes.DBInstance) bool { return *db.StorageType == "gp2" }},
		"a later version":       {postgres("version", "17"), "→ 17", func(db rdstypes.DBInstance) bool { return strings.HasPrefix(*db.EngineVersion, "17") }},
		"longer backups":        {postgres("backup_days", int64(7)), "days of backups 1 → 7", func(db rdstypes.DBInstance) bool { return *db.BackupRetentionPeriod == 7 }},
		"deletion protection":   {postgres("deletion_protection", true), "deletion protection false → true", func(db rdstypes.DBInstance) bool { return *db.DeletionProtection }},
		"an address for people": {postgres("public", true), "public access false → true", func(db rdstypes.DBInstance) bool { return *db.PubliclyAccessible }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 1})
			w.must(t, w.step(sdk.Deploy, postgres()))
			step := w.step(sdk.Deploy, test.with)
			plan, err := w.executor().Plan(t.Context(), step)
			if err != nil || !strings.Contains(plan.Diff, test.line) {
				t.Errorf("the plan is %q, %v; want %q in it", plan.Diff, err, test.line)
			}
			seen, err := w.executor().Observe(t.Context(), step)
			if err != nil || len(seen.Drift) != 1 || !strings.Contains(seen.Drift[0], test.line) {
				t.Errorf("the drift is %q, %v; want %q in it", seen.Drift, err, test.line)
			}
			w.must(t, step)
			if !test.is(w.instance(t)) {
				t.Errorf("the database has not been changed: %s", w.Dump())
			}
			if plan, err := w.executor().Plan(t.Context(), step); err != nil || plan.Diff != "" || len(plan.Resources) > 0 {
				t.Errorf("what is right would be changed: %q, %v", plan.Diff, err)
			}
		})
	}
}

func TestWhatCannotBeChangedInPlaceIsRefusedInThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	w.must(t, w.step(sdk.Deploy, postgres("storage", int64(50), "version", "16", "database", "shop", "username", "ann")))
	for name, with := range map[string]map[string]any{
		"another engine":     {"rds": map[string]any{"engine": "mysql"}},
		"less storage":       postgres("storage", int64(20)),
		"an earlier version": postgres("storage", int64(50), "version", "15"),
		"another database":   postgres("storage", int64(50), "database", "store"),
		"another user":       postgres("storage", int64(50), "username", "eve"),
		"another key":        postgres("storage", int64(50), "kms_key", "1234abcd-12ab-34cd-56ef-1234567890ab"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, with))
			refused(t, err, "berth-shop-pr-42-db")
			_, err = w.run(t, w.step(sdk.Deploy, with))
			refused(t, err, "berth-shop-pr-42-db")
		})
	}
}

func TestARestoreBringsBackExactlyWhatWas(t *testing.T) {
	t.Parallel()
	for name, with := range map[string][2]map[string]any{
		"an instance": {
			postgres("class", "db.t4g.medium", "backup_days", int64(3), "max_storage", int64(99)),
			postgres("class", "db.t4g.micro", "storage_type", "gp2", "port", int64(6000)),
		},
		"a cluster": {
			{"aurora": map[string]any{"engine": "aurora-postgresql", "instances": int64(2), "max_capacity": int64(8)}},
			{"aurora": map[string]any{"engine": "aurora-postgresql", "class": "db.r6g.large"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 1})
			w.must(t, w.step(sdk.Deploy, with[0]))
			before := w.size(t, with[0])
			w.must(t, w.step(sdk.Archive, with[1]))
			if things := w.Things(); len(things) != 1 || !strings.Contains(things[0], "snapshot") {
				t.Fatalf("after an archive there is %v; want its snapshot alone", things)
			}
			w.must(t, w.step(sdk.Restore, with[1]))
			if after := w.size(t, with[0]); after != before {
				t.Errorf("it was %s, and is %s", before, after)
			}
			if seen, err := w.executor().Observe(t.Context(), w.step(sdk.Deploy, with[0])); err != nil || len(seen.Drift) > 0 || seen.Health != sdk.Healthy {
				t.Errorf("it is %+v, %v; want it without drift", seen, err)
			}
			w.must(t, w.step(sdk.Archive, with[1]))
			step := w.step(sdk.Restore, with[1])
			step.AsWas = false
			w.must(t, step)
			if after := w.size(t, with[0]); after == before {
				t.Errorf("it was to get the present settings, and is still %s", after)
			}
		})
	}
}

// size is what Observe tells of a database's size.
func (w *world) size(t *testing.T, with map[string]any) string {
	t.Helper()
	seen, err := w.executor().Observe(t.Context(), w.step(sdk.Deploy, with))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range seen.Facts {
		if f.Name == "size" {
			return f.Text
		}
	}
	t.Fatalf("no size in %+v", seen)
	return ""
}

func TestARestoreRefusesBeforeAnythingWhenTheSnapshotIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	with := postgres()
	with["secret"] = map[string]any{}
	for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Archive} {
		w.must(t, w.step(verb, with))
	}
	all := w.snapshots(t)
	if len(all) != 1 {
		t.Fatalf("there are the snapshots %v; want that of the last archive alone", all)
	}
	api := rds.NewFromConfig(w.Config(testRegion))
	if _, err := api.DeleteDBSnapshot(t.Context(), &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: &all[0]}); err != nil {
		t.Fatal(err)
	}
	changes := w.Changes()
	for _, asWas := range []bool{true, false} {
		step := w.step(sdk.Restore, with)
		step.AsWas = asWas
		_, err := w.executor().Plan(t.Context(), step)
		refused(t, err, "gone")
		_, err = w.run(t, step)
		refused(t, err, "gone")
	}
	if n := w.Changes() - changes; n != 0 {
		t.Errorf("it made %d changing calls", n)
	}
}

func TestASnapshotThatWasRestoredIsNotRestoredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore} {
		w.must(t, w.step(verb, postgres()))
	}
	// Somebody takes the database away behind Berth's back.
	name := awssdk.ToString(w.instance(t).DBInstanceIdentifier)
	if _, err := rds.NewFromConfig(w.Config(testRegion)).DeleteDBInstance(t.Context(), &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: awssdk.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	w.Settle()
	_, err := w.run(t, w.step(sdk.Restore, postgres()))
	refused(t, err, "gone")
}

func TestDeletionProtectionIsRespected(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]map[string]any{
		"an instance": postgres("deletion_protection", true),
		"a cluster":   {"aurora": map[string]any{"engine": "aurora-mysql", "deletion_protection": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			w.must(t, w.step(sdk.Deploy, with))
			for _, verb := range []sdk.Verb{sdk.Archive, sdk.Cleanup} {
				changes := w.Changes()
				_, err := w.executor().Plan(t.Context(), w.step(verb, with))
				refused(t, err, "deletion protection")
				_, err = w.run(t, w.step(verb, with))
				refused(t, err, "deletion protection")
				if n := w.Changes() - changes; n != 0 {
					t.Errorf("%s made %d changing calls", verb, n)
				}
			}
		})
	}
}

func TestCleanupKeepsWhatIsToBeRetained(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		retain   string
		archived bool
		left     int
		later    time.Duration
		due      bool // whether the inventory tells of it later
	}{
		"nothing by default":                     {},
		"nothing, of an archive either":          {retain: "none", archived: true},
		"a last snapshot for a week":             {retain: "7d", left: 1, later: 6 * 24 * time.Hour},
		"a last snapshot until the week is over": {retain: "7d", left: 1, later: 8 * 24 * time.Hour, due: true},
		"the archive's for a day":                {retain: "24h", archived: true, left: 1, later: 25 * time.Hour, due: true},
		"a last snapshot for ever":               {retain: "forever", left: 1, later: 20 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 1})
			with := postgres()
			if test.retain != "" {
				with["retain"] = test.retain
			}
			w.must(t, w.step(sdk.Deploy, with))
			if test.archived {
				w.must(t, w.step(sdk.Archive, with))
			}
			plan, err := w.executor().Plan(t.Context(), w.step(sdk.Cleanup, with))
			if err != nil || plan.Destructive != (test.left == 0) {
				t.Errorf("the plan is destructive: %t, %v", plan.Destructive, err)
			}
			w.clock = func() time.Time { return time.Now().Add(9 * 24 * time.Hour) } // somebody agrees to it a week later
			if later, err := w.executor().Plan(t.Context(), w.step(sdk.Cleanup, with)); err != nil || !reflect.DeepEqual(later, plan) {
				t.Errorf("the plan of another day is another: %v, then %v, %v", plan, later, err)
			}
			w.clock = time.Now
			w.must(t, w.step(sdk.Cleanup, with))
			if left := w.snapshots(t); len(left) != test.left || len(w.Things()) != test.left {
				t.Fatalf("there is left %v; want %d snapshots", w.Things(), test.left)
			}
			if owned := w.inventory(t); len(owned) > 0 {
				t.Errorf("the inventory tells of %v right after the cleanup", owned)
			}
			w.clock = func() time.Time { return time.Now().Add(test.later) }
			if owned := w.inventory(t); (len(owned) > 0) != test.due {
				t.Errorf("after %s the inventory tells of %v", test.later, owned)
			}
			// What is due goes with a cleanup that knows of no settings, as Berth's
			// sweep makes it.
			w.must(t, w.step(sdk.Cleanup, nil))
			if left := w.snapshots(t); (len(left) == 0) != (test.due || test.left == 0) {
				t.Errorf("after the sweep there is left %v", left)
			}
		})
	}
}

func (w *world) inventory(t *testing.T) []sdk.Owned {
	t.Helper()
	owned, err := w.executor().Inventory(t.Context(), sdk.Scope{Installation: "berth-1", Settings: w.settings()})
	if err != nil {
		t.Fatal(err)
	}
	return owned
}

func TestACleanupThatKnowsNoSettingsKeepsWhatTheDatabaseSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	with := postgres()
	with["retain"] = "7d"
	w.must(t, w.step(sdk.Deploy, with))
	w.must(t, w.step(sdk.Cleanup, nil))
	if left := w.snapshots(t); len(left) != 1 || len(w.Things()) != 1 {
		t.Errorf("there is left %v; want a last snapshot", w.Things())
	}
}

func TestADatabaseIsMadeFromAnothers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	staging := w.step(sdk.Deploy, map[string]any{"rds": map[string]any{"engine": "postgres"}, "retain": "forever"})
	staging.Env = "staging"
	w.must(t, staging)
	from := map[string]any{"rds": map[string]any{"from": map[string]any{"environment": "staging"}}}
	step := w.step(sdk.Deploy, from)
	if _, err := w.executor().Plan(t.Context(), step); err == nil && len(w.snapshots(t)) == 0 && !strings.Contains(w.Dump(), `automated`) {
		t.Error("a database is planned from a snapshot that is not there")
	}
	staging.Verb = sdk.Cleanup
	w.must(t, staging)
	plan, err := w.executor().Plan(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	pinned := plan.Inputs["rds snapshot"]
	if !strings.Contains(pinned, "berth-shop-staging-db-final") {
		t.Fatalf("the inputs are %v; want the snapshot in them", plan.Inputs)
	}
	step.Agreed = plan.Inputs
	w.must(t, step)
	db := w.instance(t)
	if tags := rdsTags(db.TagList); tags[tagFrom] != pinned || tags[tagEnvironment] != "pr-42" {
		t.Errorf("the database has the tags %v", tags)
	}
	if db.MasterUserSecret == nil {
		t.Error("its password is still the other's: AWS does not keep it")
	}
	if again, err := w.executor().Plan(t.Context(), step); err != nil || !maps.Equal(again.Inputs, plan.Inputs) {
		t.Errorf("once it is there, the inputs are %v, %v; want %v", again.Inputs, err, plan.Inputs)
	}
	if left := w.snapshots(t); len(left) != 1 {
		t.Errorf("there are the snapshots %v", left)
	}
	w.must(t, w.step(sdk.Cleanup, from))
	if left := w.snapshots(t); len(left) != 1 {
		t.Errorf("cleanup took another environment's snapshot: there is left %v", left)
	}
}

func TestASnapshotThatWasAgreedOnAndIsGoneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	step := w.step(sdk.Deploy, map[string]any{"rds": map[string]any{"from": map[string]any{"environment": "staging"}}})
	step.Agreed = map[string]string{"rds snapshot": "arn:aws:rds:" + testRegion + ":" + awstest.Account + ":snapshot:berth-shop-staging-db-final-1"}
	_, err := w.run(t, step)
	refused(t, err, "is not there")
	if len(w.Things()) > 0 {
		t.Errorf("there is %v", w.Things())
	}
}

// A person's own snapshot of Berth's database gets its tags; it stays theirs.
func TestAPersonsSnapshotIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	w.must(t, w.step(sdk.Deploy, postgres()))
	db := w.instance(t)
	api := rds.NewFromConfig(w.Config(testRegion))
	_, err := api.CreateDBSnapshot(t.Context(), &rds.CreateDBSnapshotInput{DBInstanceIdentifier: db.DBInstanceIdentifier, DBSnapshotIdentifier: awssdk.String("before-the-migration"), Tags: db.TagList})
	if err != nil {
		t.Fatal(err)
	}
	w.Settle()
	for _, verb := range []sdk.Verb{sdk.Archive, sdk.Restore, sdk.Cleanup} {
		w.must(t, w.step(verb, postgres()))
	}
	if left := w.snapshots(t); !slices.Equal(left, []string{"before-the-migration"}) {
		t.Errorf("there are the snapshots %v", left)
	}
	if owned := w.inventory(t); len(owned) > 0 {
		t.Errorf("the inventory tells of %v", owned)
	}
}

// A plan may know less than the run: what another part will tell is told later.
func TestAPlanStandsWhatIsKnownLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	const later = "(known after net)"
	with := map[string]any{
		"rds":  map[string]any{"snapshot": later, "subnet_group": later, "security_groups": []any{later}, "kms_key": later},
		"tags": map[string]any{"network": later},
	}
	plan, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, with))
	if err != nil || !strings.Contains(plan.Diff, later) || len(plan.Inputs) > 0 {
		t.Errorf("the plan is %q with %v, %v", plan.Diff, plan.Inputs, err)
	}
}
