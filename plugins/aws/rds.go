package aws

import (
	"context"
	"errors"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// rdsKind is a database instance.
func rdsKind() kind {
	keys := dbSchema()
	keys["engine"] = text("postgres, mysql, mariadb or another engine of RDS; a snapshot says its own.")
	keys["class"] = text("The instance's class; db.t4g.micro when left out.")
	keys["storage"] = number("GiB; 20 when left out.", 5, 65536)
	keys["max_storage"] = number("GiB up to which AWS enlarges the storage by itself.", 6, 65536)
	keys["storage_type"] = choice("The sort of storage; gp3 when left out.", "gp2", "gp3")
	keys["multi_az"] = flag("Keep a standby in another zone.")
	return kind{
		name: "rds", title: "RDS instance", schema: object("An RDS instance.", keys),
		open: func(s *session, in input) (thing, error) {
			t, err := openDatabase(s, in, "rds", "RDS instance")
			if err != nil {
				return nil, err
			}
			if in.settings != nil && t.Storage == 0 && t.Snapshot == "" && t.From == nil {
				t.Storage = defaultStorage
			}
			t.api = &rdsAPI{s: s, t: t}
			return t, nil
		},
		list: listRDS,
	}
}

// defaultStorage is the GiB of an instance whose settings say none: the least
// that gp3 has. Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Storage.html
const defaultStorage = 20

func (s *session) rds() *rds.Client {
	return clientOf(s, "rds", func(c awssdk.Config) *rds.Client { return rds.NewFromConfig(c) })
}

// rdsAPI is dbAPI for an instance.
type rdsAPI struct {
	s *session
	t *database
}

func (a *rdsAPI) look(ctx context.Context) (*dbState, error) {
	one, err := a.s.instance(ctx, a.t.name)
	if one == nil || err != nil {
		return nil, err
	}
	return instanceState(one), nil
}

// instance is an instance, nil when there is none.
func (s *session) instance(ctx context.Context, name string) (*types.DBInstance, error) {
	out, err := s.rds().DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &name})
	if _, none := errors.AsType[*types.DBInstanceNotFoundFault](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(out.DBInstances) == 0 {
		return nil, nil
	}
	return &out.DBInstances[0], nil
}

func instanceState(i *types.DBInstance) *dbState {
	d := &dbState{
		name: awssdk.ToString(i.DBInstanceIdentifier), arn: awssdk.ToString(i.DBInstanceArn), resourceID: awssdk.ToString(i.DbiResourceId),
		status: strings.ToLower(awssdk.ToString(i.DBInstanceStatus)), tags: rdsTags(i.TagList), engine: awssdk.ToString(i.Engine),
		version: awssdk.ToString(i.EngineVersion), class: awssdk.ToString(i.DBInstanceClass), storage: awssdk.ToInt32(i.AllocatedStorage),
		maxStorage: awssdk.ToInt32(i.MaxAllocatedStorage), storageType: awssdk.ToString(i.StorageType), database: awssdk.ToString(i.DBName),
		username: awssdk.ToString(i.MasterUsername), backupDays: awssdk.ToInt32(i.BackupRetentionPeriod), multiAZ: awssdk.ToBool(i.MultiAZ),
		public: awssdk.ToBool(i.PubliclyAccessible), protected: awssdk.ToBool(i.DeletionProtection), copiesTags: awssdk.ToBool(i.CopyTagsToSnapshot),
		instances: 1, createdAt: awssdk.ToTime(i.InstanceCreateTime), restartAt: awssdk.ToTime(i.AutomaticRestartTime),
		securityGroups: groupIDs(i.VpcSecurityGroups), kmsKey: awssdk.ToString(i.KmsKeyId),
	}
	if i.Endpoint != nil {
		d.address, d.port = awssdk.ToString(i.Endpoint.Address), awssdk.ToInt32(i.Endpoint.Port)
	}
	if i.MasterUserSecret != nil {
		d.secretARN, d.secretStatus = awssdk.ToString(i.MasterUserSecret.SecretArn), awssdk.ToString(i.MasterUserSecret.SecretStatus)
	}
	if i.DBSubnetGroup != nil {
		d.subnetGroup = awssdk.ToString(i.DBSubnetGroup.DBSubnetGroupName)
	}
	for _, g := range i.DBParameterGroups {
		d.parameterGroup = awssdk.ToString(g.DBParameterGroupName)
	}
	d.overlay(i.PendingModifiedValues)
	return d
}

// overlay takes what AWS has been asked to change for what is.
func (d *dbState) overlay(p *types.PendingModifiedValues) {
	if p == nil {
		return
	}
	set := func(to *string, from *string) {
		if from != nil {
			*to, d.pending = *from, true
		}
	}
	set(&d.class, p.DBInstanceClass)
	set(&d.version, p.EngineVersion)
	set(&d.storageType, p.StorageType)
	var unseen string // a password, which AWS shows as stars
	set(&unseen, p.MasterUserPassword)
	for _, n := range []struct {
		to   *int32
		from *int32
	}{{&d.storage, p.AllocatedStorage}, {&d.backupDays, p.BackupRetentionPeriod}, {&d.port, p.Port}} {
		if n.from != nil {
			*n.to, d.pending = *n.from, true
		}
	}
	if p.MultiAZ != nil {
		d.multiAZ, d.pending = *p.MultiAZ, true
	}
}

// groupIDs are the security groups that are or become the database's.
func groupIDs(groups []types.VpcSecurityGroupMembership) []string {
	var out []string
	for _, g := range groups {
		if awssdk.ToString(g.Status) != "removing" {
			out = append(out, awssdk.ToString(g.VpcSecurityGroupId))
		}
	}
	return out
}

func rdsTags(tags []types.Tag) map[string]string {
	return tagMap(tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value })
}

func asRDSTags(tags map[string]string) []types.Tag {
	return tagList(tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

// opt is what the API takes for a setting that may be left out.
func opt[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

func (a *rdsAPI) create(ctx context.Context, want dbWant, tags map[string]string) error {
	t := a.t
	_, err := a.s.rds().CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &t.name, DBInstanceClass: &want.class, Engine: &t.Engine, EngineVersion: opt(want.version),
		AllocatedStorage: opt(want.storage), MaxAllocatedStorage: opt(want.maxStorage), StorageType: awssdk.String(firstOf(want.storageType, "gp3")),
		DBName: opt(t.Database), MasterUsername: awssdk.String(firstOf(t.Username, defaultUsername)), ManageMasterUserPassword: awssdk.Bool(true),
		Port: opt(want.port), DBSubnetGroupName: opt(want.subnetGroup), VpcSecurityGroupIds: want.securityGroups, DBParameterGroupName: opt(want.parameterGroup),
		BackupRetentionPeriod: want.backupDays, MultiAZ: want.multiAZ, PubliclyAccessible: want.public, DeletionProtection: want.protected,
		StorageEncrypted: awssdk.Bool(true), KmsKeyId: opt(t.KMSKey), CopyTagsToSnapshot: awssdk.Bool(true), Tags: asRDSTags(tags),
	})
	return unlessThere(err)
}

// defaultUsername is the first user of a database whose settings name none.
const defaultUsername = "berth"

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// unlessThere is err, nil when there is such a database by now: whose it is
// shows at the next look.
func unlessThere(err error) error {
	if isCode(err, "DBInstanceAlreadyExists", "DBInstanceAlreadyExistsFault", "DBClusterAlreadyExistsFault", "DBClusterAlreadyExists") {
		return nil
	}
	return err
}

func (a *rdsAPI) restore(ctx context.Context, from snapshot, want dbWant, tags map[string]string) error {
	t := a.t
	in := &rds.RestoreDBInstanceFromDBSnapshotInput{
		DBInstanceIdentifier: &t.name, DBSnapshotIdentifier: &from.arn, DBInstanceClass: opt(want.class), Port: opt(want.port),
		DBSubnetGroupName: opt(want.subnetGroup), VpcSecurityGroupIds: want.securityGroups, DBParameterGroupName: opt(want.parameterGroup),
		MultiAZ: want.multiAZ, PubliclyAccessible: want.public, DeletionProtection: want.protected,
		StorageType: opt(want.storageType), CopyTagsToSnapshot: awssdk.Bool(true), Tags: asRDSTags(tags),
	}
	if from.of == t.name {
		in.DBSnapshotIdentifier = &from.id
	}
	_, err := a.s.rds().RestoreDBInstanceFromDBSnapshot(ctx, in)
	return unlessThere(err)
}

func (a *rdsAPI) modify(ctx context.Context, c dbChange) error {
	in := &rds.ModifyDBInstanceInput{
		DBInstanceIdentifier: &a.t.name, ApplyImmediately: awssdk.Bool(true), DBInstanceClass: opt(c.class), EngineVersion: opt(c.version),
		DBParameterGroupName: opt(c.parameterGroup), AllocatedStorage: c.storage, MaxAllocatedStorage: c.maxStorage, BackupRetentionPeriod: c.backupDays,
		VpcSecurityGroupIds: c.securityGroups, MultiAZ: c.multiAZ, PubliclyAccessible: c.public, DeletionProtection: c.protected,
		DBPortNumber: opt(c.port), StorageType: opt(c.storageType), AllowMajorVersionUpgrade: opt(c.version != ""),
	}
	if c.password {
		in.ManageMasterUserPassword = awssdk.Bool(true)
	}
	if c.copyTags {
		in.CopyTagsToSnapshot = awssdk.Bool(true)
	}
	_, err := a.s.rds().ModifyDBInstance(ctx, in)
	return err
}

// members has nothing to do: an instance is whole by itself.
func (*rdsAPI) members(context.Context, *dbState, dbWant, map[string]string) (progress, error) {
	return finished()
}

func (a *rdsAPI) start(ctx context.Context) error {
	_, err := a.s.rds().StartDBInstance(ctx, &rds.StartDBInstanceInput{DBInstanceIdentifier: &a.t.name})
	return err
}

func (a *rdsAPI) stop(ctx context.Context) error {
	_, err := a.s.rds().StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: &a.t.name})
	return err
}

func (a *rdsAPI) reboot(ctx context.Context, _ *dbState) error {
	_, err := a.s.rds().RebootDBInstance(ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: &a.t.name})
	return err
}

func (a *rdsAPI) remove(ctx context.Context, _ *dbState, last string) error {
	in := &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &a.t.name, DeleteAutomatedBackups: awssdk.Bool(true), SkipFinalSnapshot: awssdk.Bool(last == "")}
	if last != "" {
		in.FinalDBSnapshotIdentifier = &last
	}
	_, err := a.s.rds().DeleteDBInstance(ctx, in)
	if _, none := errors.AsType[*types.DBInstanceNotFoundFault](err); none {
		return nil
	}
	return err
}

func (a *rdsAPI) tag(ctx context.Context, arn string, tags map[string]string) error {
	return a.s.tagRDS(ctx, arn, tags)
}

func (s *session) tagRDS(ctx context.Context, arn string, tags map[string]string) error {
	_, err := s.rds().AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: &arn, Tags: asRDSTags(tags)})
	return err
}

func (a *rdsAPI) dropSnapshot(ctx context.Context, id string) error {
	_, err := a.s.rds().DeleteDBSnapshot(ctx, &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: &id})
	if _, none := errors.AsType[*types.DBSnapshotNotFoundFault](err); none {
		return nil
	}
	return err
}

func (a *rdsAPI) snapshots(ctx context.Context, of string, manual bool) ([]snapshot, error) {
	in := &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: opt(of)}
	if manual {
		in.SnapshotType = awssdk.String("manual")
	}
	all, err := a.s.instanceSnapshots(ctx, in)
	if _, none := errors.AsType[*types.DBSnapshotNotFoundFault](err); none {
		return nil, nil
	}
	return all, err
}

func (a *rdsAPI) snapshot(ctx context.Context, id string) (*snapshot, error) {
	all, err := a.s.instanceSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &id})
	if _, none := errors.AsType[*types.DBSnapshotNotFoundFault](err); none || err == nil && len(all) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

func (s *session) instanceSnapshots(ctx context.Context, in *rds.DescribeDBSnapshotsInput) ([]snapshot, error) {
	var out []snapshot
	pages := rds.NewDescribeDBSnapshotsPaginator(s.rds(), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range page.DBSnapshots {
			out = append(out, snapshot{
				id: awssdk.ToString(n.DBSnapshotIdentifier), arn: awssdk.ToString(n.DBSnapshotArn), status: strings.ToLower(awssdk.ToString(n.Status)),
				of: awssdk.ToString(n.DBInstanceIdentifier), engine: awssdk.ToString(n.Engine),
				version: awssdk.ToString(n.EngineVersion), storage: awssdk.ToInt32(n.AllocatedStorage), tags: rdsTags(n.TagList),
				createdAt: awssdk.ToTime(n.SnapshotCreateTime), automatic: awssdk.ToString(n.SnapshotType) != "manual",
			})
		}
	}
	return out, nil
}

// listRDS finds instances, and last snapshots of those that are gone.
func listRDS(ctx context.Context, s *session) ([]found, error) {
	var live []found
	pages := rds.NewDescribeDBInstancesPaginator(s.rds(), &rds.DescribeDBInstancesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, i := range page.DBInstances {
			if d := instanceState(&i); i.DBClusterIdentifier == nil && s.ours(d.tags) {
				live = append(live, found{name: d.name, owner: tagsOwner(d.tags), createdAt: d.createdAt})
			}
		}
	}
	snapshots, err := s.instanceSnapshots(ctx, &rds.DescribeDBSnapshotsInput{SnapshotType: awssdk.String("manual")})
	if err != nil {
		return nil, err
	}
	return withFinals(s, live, snapshots), nil
}
