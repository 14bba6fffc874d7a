package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// database is an RDS instance or an Aurora cluster: the same life, told to AWS
// in other calls (see dbAPI).
type database struct {
	s    *session
	api  dbAPI
	word string // "RDS instance"
	kind string // "rds"
	name string
	dbSettings
}

// dbAPI is how AWS is told of one sort of database. All of it is about the
// database with one name.
type dbAPI interface {
	dbReader
	dbWriter
}

type dbReader interface {
	// look is the database as AWS has it, nil when there is none.
	look(ctx context.Context) (*dbState, error)
	// snapshots are those of the database of that name; final ones only when
	// manual is set, and otherwise automatic ones as well.
	snapshots(ctx context.Context, of string, manual bool) ([]snapshot, error)
	// snapshot is the one with that name or ARN, nil when there is none.
	snapshot(ctx context.Context, id string) (*snapshot, error)
}

type dbWriter interface {
	// create begins a fresh database, and restore one from a snapshot. Both are
	// waited for when there is one of that name by now.
	create(ctx context.Context, want dbWant, tags map[string]string) error
	restore(ctx context.Context, from snapshot, want dbWant, tags map[string]string) error
	// modify begins to change what change says.
	modify(ctx context.Context, change dbChange) error
	// members makes, changes and takes away what runs in a cluster; it is done when
	// that is as wanted. An instance has none.
	members(ctx context.Context, now *dbState, want dbWant, tags map[string]string) (progress, error)
	start(ctx context.Context) error
	stop(ctx context.Context) error
	reboot(ctx context.Context, now *dbState) error
	// remove begins to delete the database, with a last snapshot of that name, or
	// without one for "". Where more than one call is needed, it is called again.
	remove(ctx context.Context, now *dbState, last string) error
	tag(ctx context.Context, arn string, tags map[string]string) error
	dropSnapshot(ctx context.Context, id string) error
}

// dbState is a database as AWS has it. What AWS has been asked to change and has
// not changed yet is told as if it were.
type dbState struct {
	name, arn, resourceID, status string
	tags                          map[string]string
	engine, version, class        string
	storageType                   string
	storage, maxStorage           int32 // GiB
	address, reader               string
	port                          int32
	database, username            string
	secretARN, secretStatus       string
	subnetGroup, parameterGroup   string
	kmsKey                        string // ARN
	securityGroups                []string
	backupDays                    int32
	multiAZ, public               bool
	protected, copiesTags         bool
	minCapacity, maxCapacity      float64
	instances                     int32 // 1 for an instance
	cluster                       bool
	members                       []*dbState // of a cluster
	memberStatus                  []string
	pending                       bool
	createdAt                     time.Time
	restartAt                     time.Time // when AWS starts what was stopped
}

// dbSettings is the value of `rds` and of `aurora`.
type dbSettings struct {
	Engine             string    `json:"engine"`
	Version            string    `json:"version"`
	Class              string    `json:"class"`
	Storage            int32     `json:"storage"`
	MaxStorage         int32     `json:"max_storage"`
	StorageType        string    `json:"storage_type"`
	Database           string    `json:"database"`
	Username           string    `json:"username"`
	Port               int32     `json:"port"`
	SubnetGroup        string    `json:"subnet_group"`
	SecurityGroups     []string  `json:"security_groups"`
	ParameterGroup     string    `json:"parameter_group"`
	BackupDays         *int32    `json:"backup_days"`
	MultiAZ            *bool     `json:"multi_az"`
	Public             bool      `json:"public"`
	DeletionProtection *bool     `json:"deletion_protection"`
	KMSKey             string    `json:"kms_key"`
	Instances          int32     `json:"instances"`
	MinCapacity        float64   `json:"min_capacity"`
	MaxCapacity        float64   `json:"max_capacity"`
	Snapshot           string    `json:"snapshot"`
	From               *dbSource `json:"from"`
}

// dbSource is another database, of which the newest snapshot is taken.
type dbSource struct {
	App         string `json:"app"`
	Environment string `json:"environment"`
	Part        string `json:"part"`
	Name        string `json:"name"`
}

// The tags of databases beside those of ownership.
const (
	tagFrom     = "berth:from"         // on a database: the ARN of the snapshot that it was made from
	tagRestart  = "berth:restarted-by" // on a database: the ID of the step that started it anew
	tagRestored = "berth:restored-to"  // on a final snapshot: the database that was made from it
)

// dbNameLimit is the longest name of a database, in characters, less what the
// names of a cluster's instances need.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints
const dbNameLimit = 63 - len("-10")

func (t *database) title() string { return fmt.Sprintf("%s %q", t.word, t.name) }

// What a database's status means for who waits.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
var (
	dbReady  = []string{"available", "storage-optimization", "storage-config-upgrade", "storage-initialization"}
	dbAtWork = []string{"backing-up", "modifying", "upgrading", "maintenance", "configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports", "renaming", "resetting-master-credentials"}
)

// broken tells whether AWS will not get a database out of its status by itself.
func broken(status string) bool {
	return strings.HasPrefix(status, "incompatible-") || strings.HasSuffix(status, "failed") ||
		slices.Contains([]string{"restore-error", "storage-full", "inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable", "insufficient-capacity"}, status)
}

// ready tells whether a database can be worked with. While it cannot, at says
// what is waited for; a stopped one is started when start says so.
func (t *database) ready(ctx context.Context, now *dbState) (ok bool, at progress, err error) {
	switch {
	case now.status == "stopped":
		if err := t.api.start(ctx); err != nil {
			return false, at, err
		}
		at.text = t.title() + " is starting"
		return false, at, nil
	case broken(now.status):
		return false, at, &sdk.Error{Fault: sdk.FaultDownstream, Msg: fmt.Sprintf("The %s is in the state %q, which AWS does not get out of by itself. Look at its events in AWS; then put it right, or clean the environment up and deploy again.", t.title(), now.status)}
	case slices.Contains(dbReady, now.status):
		return true, at, nil
	}
	at.text = t.title() + " is " + now.status
	return false, at, nil
}

// deploy makes the database: fresh, from the snapshot that settings name, or
// from the one that an archive of it left; and changes what is there to what the
// settings say.
func (t *database) deploy(ctx context.Context) (progress, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return progress{}, err
	}
	kept, err := t.kept(ctx)
	if err != nil {
		return progress{}, err
	}
	if now == nil {
		return t.begin(ctx, kept, t.fresh())
	}
	return t.converge(ctx, now, kept, t.wanted(now))
}

// begin makes a database that is not there.
func (t *database) begin(ctx context.Context, kept *snapshot, want dbWant) (progress, error) {
	tags := t.tags()
	from := kept
	if from == nil {
		var err error
		if from, err = t.source(ctx); err != nil {
			return progress{}, err
		}
	}
	if from == nil {
		if err := t.api.create(ctx, want, tags); err != nil {
			return progress{}, err
		}
		return waiting("%s is being made", t.title())
	}
	if from.status != snapshotReady {
		return waiting("snapshot %q is %s", from.id, from.status)
	}
	if err := t.fits(from); err != nil {
		return progress{}, err
	}
	if kept == nil {
		tags[tagFrom] = from.arn
	}
	if err := t.api.restore(ctx, *from, want, tags); err != nil {
		return progress{}, err
	}
	return waiting("%s is being made from snapshot %q", t.title(), from.id)
}

// tags are those of the database.
func (t *database) tags() map[string]string {
	tags := t.s.tags()
	tags[tagRetain] = t.s.retain.String()
	return tags
}

// converge takes a database that is there to what is wanted.
func (t *database) converge(ctx context.Context, now *dbState, kept *snapshot, want dbWant) (progress, error) {
	if err := t.s.refuse(t.title(), now.tags); err != nil {
		return progress{}, err
	}
	if now.status == "deleting" {
		return waiting("the earlier %s is being deleted", t.title())
	}
	if ok, at, err := t.ready(ctx, now); !ok {
		return at, err
	}
	if err := t.changeable(now); err != nil {
		return progress{}, err
	}
	if change := want.change(now); change.any() {
		if err := t.api.modify(ctx, change); err != nil {
			return progress{}, err
		}
		return waiting("%s is being changed", t.title())
	}
	if now.pending {
		return waiting("%s is being changed", t.title())
	}
	if at, err := t.api.members(ctx, now, want, t.tags()); err != nil || !at.done {
		return at, err
	}
	if now.secretStatus == "creating" {
		return waiting("the password of %s is being made", t.title())
	}
	if missing := missingTags(now.tags, t.tags()); len(missing) > 0 {
		if err := t.api.tag(ctx, now.arn, missing); err != nil {
			return progress{}, err
		}
	}
	if kept != nil { // it has done its work, and the next archive has its own
		if err := t.api.tag(ctx, kept.arn, map[string]string{tagRestored: now.resourceID}); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// missingTags are those of want that tags does not have.
func missingTags(tags, want map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range want {
		if tags[key] != value {
			out[key] = value
		}
	}
	return out
}

// sleep stops the database; what it holds stays.
func (t *database) sleep(ctx context.Context) (progress, error) {
	now, err := t.there(ctx)
	switch {
	case err != nil:
		return progress{}, err
	case now.status == "stopped":
		return finished()
	case slices.Contains(dbReady, now.status):
		if err := t.api.stop(ctx); err != nil {
			return progress{}, err
		}
	case broken(now.status):
		_, at, err := t.ready(ctx, now)
		return at, err
	}
	return waiting("%s is stopping", t.title())
}

// wake starts it.
func (t *database) wake(ctx context.Context) (progress, error) {
	now, err := t.there(ctx)
	if err != nil {
		return progress{}, err
	}
	if ok, at, err := t.ready(ctx, now); !ok {
		return at, err
	}
	if text := now.membersBusy(); text != "" {
		return waiting("%s: %s", t.title(), text)
	}
	return finished()
}

// membersBusy is what a cluster's instances are at, "" when all are ready.
func (d *dbState) membersBusy() string {
	for _, status := range d.memberStatus {
		if !slices.Contains(dbReady, status) {
			return "an instance is " + status
		}
	}
	return ""
}

// restart reboots the database, once for each step.
func (t *database) restart(ctx context.Context, stepID string) (progress, error) {
	now, err := t.there(ctx)
	if err != nil {
		return progress{}, err
	}
	if ok, at, err := t.ready(ctx, now); !ok {
		return at, err
	}
	if text := now.membersBusy(); text != "" {
		return waiting("%s: %s", t.title(), text)
	}
	mark := stepMark(stepID)
	if now.tags[tagRestart] == mark {
		return finished()
	}
	if err := t.api.reboot(ctx, now); err != nil {
		return progress{}, err
	}
	if err := t.api.tag(ctx, now.arn, map[string]string{tagRestart: mark}); err != nil {
		return progress{}, err
	}
	return waiting("%s is rebooting", t.title())
}

// stepMark is a step's ID as a tag can hold it.
func stepMark(id string) string { return owner{}.token("step", id)[:32] }

// there is the database, which has to be there and be the part's own.
func (t *database) there(ctx context.Context) (*dbState, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return nil, err
	}
	if now == nil || now.status == "deleting" {
		return nil, sdk.Invalid("The %s is not there. Deploy or restore the environment first.", t.title())
	}
	return now, t.s.refuse(t.title(), now.tags)
}
