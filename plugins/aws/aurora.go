package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// auroraKind is a cluster with its instances.
func auroraKind() kind {
	keys := dbSchema()
	keys["engine"] = choice("The engine; a snapshot says its own.", auroraEngines...)
	keys["class"] = text("The instances' class; db.serverless when left out.")
	keys["instances"] = number("How many there are: one writes, the others read. 1 when left out.", 1, 15)
	keys["backup_days"] = number("For how many days AWS keeps automatic backups; 1 when left out.", 1, 35)
	capacity := func(what string) map[string]any {
		return map[string]any{"type": "number", "minimum": 0, "maximum": 256, "multipleOf": 0.5, "description": what}
	}
	keys["min_capacity"] = capacity("The least of a serverless instance, in ACUs; 0.5 when left out, and 0 pauses it when nobody is there.")
	keys["max_capacity"] = capacity("The most of it; 2 when left out.")
	return kind{
		name: "aurora", title: "Aurora cluster", schema: object("An Aurora cluster.", keys),
		open: func(s *session, in input) (thing, error) {
			t, err := openDatabase(s, in, "aurora", "Aurora cluster")
			if err != nil {
				return nil, err
			}
			if in.settings != nil {
				t.serverless(in.settings)
			}
			t.api = &auroraAPI{s: s, t: t}
			return t, nil
		},
		list: listAurora,
	}
}

// serverless fills in what settings leave out.
func (t *database) serverless(settings map[string]any) {
	t.Instances = max(t.Instances, 1)
	if t.Class != "" && t.Class != serverlessClass {
		return
	}
	const least, most = 0.5, 2
	if _, said := settings["min_capacity"]; !said {
		t.MinCapacity = least
	}
	if t.MaxCapacity == 0 {
		t.MaxCapacity = max(most, t.MinCapacity)
	}
}

// auroraAPI is dbAPI for a cluster.
type auroraAPI struct {
	s *session
	t *database
}

func (a *auroraAPI) look(ctx context.Context) (*dbState, error) {
	out, err := a.s.rds().DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: &a.t.name})
	if _, none := errors.AsType[*types.DBClusterNotFoundFault](err); none {
		return nil, nil
	}
	if err != nil || len(out.DBClusters) == 0 {
		return nil, err
	}
	c := &out.DBClusters[0]
	d := clusterState(c)
	for _, m := range c.DBClusterMembers {
		i, err := a.s.instance(ctx, awssdk.ToString(m.DBInstanceIdentifier))
		if err != nil {
			return nil, err
		}
		if i == nil {
			continue
		}
		d.members = append(d.members, instanceState(i))
	}
	for _, m := range d.members {
		d.memberStatus = append(d.memberStatus, m.status)
		if m.status == "deleting" {
			continue
		}
		d.instances++
		d.public = d.public || m.public
		if d.class == "" {
			d.class = m.class
		}
	}
	return d, nil
}

func clusterState(c *types.DBCluster) *dbState {
	d := &dbState{
		cluster: true, name: awssdk.ToString(c.DBClusterIdentifier), arn: awssdk.ToString(c.DBClusterArn), resourceID: awssdk.ToString(c.DbClusterResourceId),
		status: strings.ToLower(awssdk.ToString(c.Status)), tags: rdsTags(c.TagList), engine: awssdk.ToString(c.Engine), version: awssdk.ToString(c.EngineVersion),
		database: awssdk.ToString(c.DatabaseName), username: awssdk.ToString(c.MasterUsername), backupDays: awssdk.ToInt32(c.BackupRetentionPeriod),
		protected: awssdk.ToBool(c.DeletionProtection), copiesTags: awssdk.ToBool(c.CopyTagsToSnapshot), createdAt: awssdk.ToTime(c.ClusterCreateTime),
		restartAt: awssdk.ToTime(c.AutomaticRestartTime), address: awssdk.ToString(c.Endpoint), reader: awssdk.ToString(c.ReaderEndpoint),
		port: awssdk.ToInt32(c.Port), subnetGroup: awssdk.ToString(c.DBSubnetGroup), parameterGroup: awssdk.ToString(c.DBClusterParameterGroup),
		securityGroups: groupIDs(c.VpcSecurityGroups), kmsKey: awssdk.ToString(c.KmsKeyId),
	}
	if c.MasterUserSecret != nil {
		d.secretARN, d.secretStatus = awssdk.ToString(c.MasterUserSecret.SecretArn), awssdk.ToString(c.MasterUserSecret.SecretStatus)
	}
	if s := c.ServerlessV2ScalingConfiguration; s != nil {
		d.minCapacity, d.maxCapacity = awssdk.ToFloat64(s.MinCapacity), awssdk.ToFloat64(s.MaxCapacity)
	}
	if p := c.PendingModifiedValues; p != nil {
		d.overlay(&types.PendingModifiedValues{EngineVersion: p.EngineVersion, BackupRetentionPeriod: p.BackupRetentionPeriod, MasterUserPassword: p.MasterUserPassword})
	}
	return d
}

// capacityOf is the scaling of serverless instances, nil for others.
func capacityOf(least, most float64) *types.ServerlessV2ScalingConfiguration {
	if most == 0 {
		return nil
	}
	return &types.ServerlessV2ScalingConfiguration{MinCapacity: &least, MaxCapacity: &most}
}

func (a *auroraAPI) create(ctx context.Context, want dbWant, tags map[string]string) error {
	t := a.t
	_, err := a.s.rds().CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: &t.name, Engine: &t.Engine, EngineVersion: opt(want.version), DatabaseName: opt(t.Database),
		MasterUsername: awssdk.String(firstOf(t.Username, defaultUsername)), ManageMasterUserPassword: awssdk.Bool(true), Port: opt(want.port),
		DBSubnetGroupName: opt(want.subnetGroup), VpcSecurityGroupIds: want.securityGroups, DBClusterParameterGroupName: opt(want.parameterGroup),
		BackupRetentionPeriod: want.backupDays, DeletionProtection: want.protected, StorageEncrypted: awssdk.Bool(true), KmsKeyId: opt(t.KMSKey),
		ServerlessV2ScalingConfiguration: capacityOf(want.minCapacity, want.maxCapacity), CopyTagsToSnapshot: awssdk.Bool(true), Tags: asRDSTags(tags),
	})
	return unlessThere(err)
}

func (a *auroraAPI) restore(ctx context.Context, from snapshot, want dbWant, tags map[string]string) error {
	t := a.t
	in := &rds.RestoreDBClusterFromSnapshotInput{
		DBClusterIdentifier: &t.name, SnapshotIdentifier: &from.arn, Engine: &from.engine, EngineVersion: opt(firstOf(want.version, from.version)),
		Port: opt(want.port), DBSubnetGroupName: opt(want.subnetGroup), VpcSecurityGroupIds: want.securityGroups,
		DBClusterParameterGroupName: opt(want.parameterGroup), DeletionProtection: want.protected,
		ServerlessV2ScalingConfiguration: capacityOf(want.minCapacity, want.maxCapacity), CopyTagsToSnapshot: awssdk.Bool(true), Tags: asRDSTags(tags),
	}
	if from.of == t.name {
		in.SnapshotIdentifier = &from.id
	}
	_, err := a.s.rds().RestoreDBClusterFromSnapshot(ctx, in)
	return unlessThere(err)
}

func (a *auroraAPI) modify(ctx context.Context, c dbChange) error {
	in := &rds.ModifyDBClusterInput{
		DBClusterIdentifier: &a.t.name, ApplyImmediately: awssdk.Bool(true), EngineVersion: opt(c.version), DBClusterParameterGroupName: opt(c.parameterGroup),
		BackupRetentionPeriod: c.backupDays, VpcSecurityGroupIds: c.securityGroups, DeletionProtection: c.protected,
		ServerlessV2ScalingConfiguration: capacityOf(c.minCapacity, c.maxCapacity), Port: opt(c.port), AllowMajorVersionUpgrade: opt(c.version != ""),
	}
	if c.password {
		in.ManageMasterUserPassword = awssdk.Bool(true)
	}
	if c.copyTags {
		in.CopyTagsToSnapshot = awssdk.Bool(true)
	}
	_, err := a.s.rds().ModifyDBCluster(ctx, in)
	return err
}

// memberName is that of a cluster's n-th instance, counted from 1.
func (a *auroraAPI) memberName(n int32) string { return fmt.Sprintf("%s-%d", a.t.name, n) }

// members makes the instances that are missing, changes those that differ, and
// takes away those of Berth's that are too many.
func (a *auroraAPI) members(ctx context.Context, now *dbState, want dbWant, tags map[string]string) (progress, error) {
	wanted := map[string]bool{}
	for n := int32(1); n <= max(want.instances, 1); n++ {
		wanted[a.memberName(n)] = true
	}
	busy := ""
	for _, m := range now.members {
		if wanted[m.name] && m.status != "deleting" {
			delete(wanted, m.name)
			text, err := a.settle(ctx, m, want, tags)
			if err != nil {
				return progress{}, err
			}
			busy = firstOf(busy, text)
			continue
		}
		if m.status == "deleting" {
			delete(wanted, m.name)
			busy = firstOf(busy, "instance "+m.name+" is being deleted")
			continue
		}
		if !a.s.mine(m.tags) {
			continue // somebody else has added it
		}
		if err := a.dropMember(ctx, m.name); err != nil {
			return progress{}, err
		}
		busy = firstOf(busy, "instance "+m.name+" is being deleted")
	}
	for n := int32(1); n <= max(want.instances, 1); n++ {
		name := a.memberName(n)
		if !wanted[name] {
			continue
		}
		if err := a.addMember(ctx, now, name, want, tags); err != nil {
			return progress{}, err
		}
		busy = firstOf(busy, "instance "+name+" is being made")
	}
	if busy != "" {
		return waiting("%s: %s", a.t.title(), busy)
	}
	return finished()
}

// settle changes an instance of the cluster to what is wanted, and says what it
// is at, "" when it is right.
func (a *auroraAPI) settle(ctx context.Context, m *dbState, want dbWant, tags map[string]string) (string, error) {
	if err := a.s.refuse("cluster instance \""+m.name+"\"", m.tags); err != nil {
		return "", err
	}
	if broken(m.status) {
		return "", &sdk.Error{Fault: sdk.FaultDownstream, Msg: fmt.Sprintf("The instance %q of the %s is in the state %q, which AWS does not get out of by itself. Look at its events in AWS.", m.name, a.t.title(), m.status)}
	}
	if !slices.Contains(dbReady, m.status) {
		return "instance " + m.name + " is " + m.status, nil
	}
	in := &rds.ModifyDBInstanceInput{DBInstanceIdentifier: &m.name, ApplyImmediately: awssdk.Bool(true)}
	changed := false
	if want.class != "" && want.class != m.class {
		in.DBInstanceClass, changed = &want.class, true
	}
	if want.public != nil && *want.public != m.public {
		in.PubliclyAccessible, changed = want.public, true
	}
	switch {
	case changed:
		_, err := a.s.rds().ModifyDBInstance(ctx, in)
		return "instance " + m.name + " is being changed", err
	case m.pending:
		return "instance " + m.name + " is being changed", nil
	}
	if missing := missingTags(m.tags, tags); len(missing) > 0 {
		return "", a.s.tagRDS(ctx, m.arn, missing)
	}
	return "", nil
}

func (a *auroraAPI) addMember(ctx context.Context, now *dbState, name string, want dbWant, tags map[string]string) error {
	class := firstOf(want.class, now.class, serverlessClass)
	// One of that name that is in no cluster of ours is somebody else's.
	if there, err := a.s.instance(ctx, name); err != nil || there != nil && awssdk.ToString(there.DBClusterIdentifier) != a.t.name {
		if err == nil {
			err = a.s.refuse(fmt.Sprintf("RDS instance %q, which the %s would need,", name, a.t.title()), rdsTags(there.TagList))
		}
		return err
	}
	_, err := a.s.rds().CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &name, DBInstanceClass: &class, Engine: &now.engine, DBClusterIdentifier: &a.t.name,
		PubliclyAccessible: want.public, Tags: asRDSTags(tags),
	})
	return unlessThere(err)
}

func (a *auroraAPI) dropMember(ctx context.Context, name string) error {
	_, err := a.s.rds().DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: awssdk.Bool(true)})
	if _, none := errors.AsType[*types.DBInstanceNotFoundFault](err); none {
		return nil
	}
	return err
}

func (a *auroraAPI) start(ctx context.Context) error {
	_, err := a.s.rds().StartDBCluster(ctx, &rds.StartDBClusterInput{DBClusterIdentifier: &a.t.name})
	return err
}

func (a *auroraAPI) stop(ctx context.Context) error {
	_, err := a.s.rds().StopDBCluster(ctx, &rds.StopDBClusterInput{DBClusterIdentifier: &a.t.name})
	return err
}

// reboot reboots the instances: a cluster has no reboot of its own.
func (a *auroraAPI) reboot(ctx context.Context, now *dbState) error {
	for _, m := range now.members {
		if _, err := a.s.rds().RebootDBInstance(ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: &m.name}); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the instances first, and the cluster when they are gone.
func (a *auroraAPI) remove(ctx context.Context, now *dbState, last string) error {
	for _, m := range now.members {
		if !a.s.mine(m.tags) {
			return sdk.Invalid("The %s has an instance %q that Berth did not make. Delete it, and try again.", a.t.title(), m.name)
		}
	}
	for _, m := range now.members {
		if m.status == "deleting" {
			continue
		}
		if err := a.dropMember(ctx, m.name); err != nil {
			return err
		}
	}
	if len(now.members) > 0 {
		return nil
	}
	in := &rds.DeleteDBClusterInput{DBClusterIdentifier: &a.t.name, SkipFinalSnapshot: awssdk.Bool(last == ""), DeleteAutomatedBackups: awssdk.Bool(true)}
	if last != "" {
		in.FinalDBSnapshotIdentifier = &last
	}
	_, err := a.s.rds().DeleteDBCluster(ctx, in)
	if _, none := errors.AsType[*types.DBClusterNotFoundFault](err); none {
		return nil
	}
	return err
}

func (a *auroraAPI) tag(ctx context.Context, arn string, tags map[string]string) error {
	return a.s.tagRDS(ctx, arn, tags)
}

func (a *auroraAPI) dropSnapshot(ctx context.Context, id string) error {
	_, err := a.s.rds().DeleteDBClusterSnapshot(ctx, &rds.DeleteDBClusterSnapshotInput{DBClusterSnapshotIdentifier: &id})
	if _, none := errors.AsType[*types.DBClusterSnapshotNotFoundFault](err); none {
		return nil
	}
	return err
}

func (a *auroraAPI) snapshots(ctx context.Context, of string, manual bool) ([]snapshot, error) {
	in := &rds.DescribeDBClusterSnapshotsInput{DBClusterIdentifier: opt(of)}
	if manual {
		in.SnapshotType = awssdk.String("manual")
	}
	all, err := a.s.clusterSnapshots(ctx, in)
	if isCode(err, "DBClusterSnapshotNotFoundFault", "DBClusterNotFoundFault") {
		return nil, nil
	}
	return all, err
}

func (a *auroraAPI) snapshot(ctx context.Context, id string) (*snapshot, error) {
	all, err := a.s.clusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{DBClusterSnapshotIdentifier: &id})
	if _, none := errors.AsType[*types.DBClusterSnapshotNotFoundFault](err); none || err == nil && len(all) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &all[0], nil
}

func (s *session) clusterSnapshots(ctx context.Context, in *rds.DescribeDBClusterSnapshotsInput) ([]snapshot, error) {
	var out []snapshot
	pages := rds.NewDescribeDBClusterSnapshotsPaginator(s.rds(), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range page.DBClusterSnapshots {
			out = append(out, snapshot{
				id: awssdk.ToString(n.DBClusterSnapshotIdentifier), arn: awssdk.ToString(n.DBClusterSnapshotArn), status: strings.ToLower(awssdk.ToString(n.Status)),
				of: awssdk.ToString(n.DBClusterIdentifier), engine: awssdk.ToString(n.Engine),
				version: awssdk.ToString(n.EngineVersion), tags: rdsTags(n.TagList),
				createdAt: awssdk.ToTime(n.SnapshotCreateTime), automatic: awssdk.ToString(n.SnapshotType) != "manual",
			})
		}
	}
	return out, nil
}

// listAurora finds clusters, and last snapshots of those that are gone.
func listAurora(ctx context.Context, s *session) ([]found, error) {
	var live []found
	pages := rds.NewDescribeDBClustersPaginator(s.rds(), &rds.DescribeDBClustersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range page.DBClusters {
			if d := clusterState(&c); slices.Contains(auroraEngines, d.engine) && s.ours(d.tags) {
				live = append(live, found{name: d.name, owner: tagsOwner(d.tags), createdAt: d.createdAt})
			}
		}
	}
	snapshots, err := s.clusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: awssdk.String("manual")})
	if err != nil {
		return nil, err
	}
	return withFinals(s, live, snapshots), nil
}
