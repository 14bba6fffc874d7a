package awstest

import "strings"

func createSnapshot(c *call) (params, *apiError) {
	th, err := c.ready(available, stopped)
	if err != nil {
		return nil, err
	}
	if err := c.makeSnapshot(th, c.in.str("DBSnapshotIdentifier")); err != nil {
		return nil, err
	}
	return params{"DBSnapshot": shownDB(c.find("snapshot", strings.ToLower(c.in.str("DBSnapshotIdentifier"))))}, nil
}

// makeSnapshot takes a snapshot of a database.
func (c *call) makeSnapshot(db *thing, name string) *apiError {
	id, err := identified(name, "DBSnapshotIdentifier", maxSnapshotID)
	if err != nil {
		return err
	}
	if c.find("snapshot", id) != nil {
		return fail("DBSnapshotAlreadyExistsFault", "Cannot create the snapshot because a snapshot with the identifier %s already exists.", id)
	}
	arn := c.arn("snapshot:" + id)
	th := c.new("snapshot", id, arn, c.snapshotTags(db), db.body.take("DBInstanceIdentifier", "Engine", "EngineVersion", "AllocatedStorage",
		"MasterUsername", "StorageType", "DbiResourceId", "KmsKeyId", "InstanceCreateTime").with(params{
		"DBSnapshotIdentifier": id, "DBSnapshotArn": arn, "Status": creating, "SnapshotType": "manual", "PercentProgress": int64(0),
		"SnapshotCreateTime": c.s.now(), "Encrypted": db.body.flag("StorageEncrypted"),
	}))
	th.hidden["source"] = db.body.take("DBName", "DBInstanceClass", "StorageEncrypted", "MasterUsername")
	th.hidden["password"] = db.hidden.str("password")
	c.s.after(th, func() { th.body["Status"], th.body["PercentProgress"] = available, int64(100) })
	return nil
}

// snapshotTags are what a snapshot is tagged with: what the call says, and what
// its source has when it copies its tags.
func (c *call) snapshotTags(source *thing) map[string]string {
	tags := tagsOf(c.in, "Tags")
	if source.body.flag("CopyTagsToSnapshot") {
		for k, v := range source.tags {
			if _, ok := tags[k]; !ok {
				tags[k] = v
			}
		}
	}
	return tags
}

func describeSnapshots(c *call) (params, *apiError) {
	return c.describe("snapshot", "DBSnapshotIdentifier", "DBSnapshots", fail("DBSnapshotNotFoundFault", "DBSnapshot %s not found.", c.in.str("DBSnapshotIdentifier")),
		map[string]string{"db-instance-id": "DBInstanceIdentifier", "db-snapshot-id": "DBSnapshotIdentifier", "snapshot-type": "SnapshotType", "engine": "Engine"})
}

func deleteSnapshot(c *call) (params, *apiError) {
	th := c.find("snapshot", strings.ToLower(c.in.str("DBSnapshotIdentifier")))
	switch {
	case th == nil:
		return nil, fail("DBSnapshotNotFoundFault", "DBSnapshot not found: %s", c.in.str("DBSnapshotIdentifier"))
	case th.body.str("Status") != available:
		return nil, fail("InvalidDBSnapshotStateFault", "The snapshot %s is not in the available state: it is %s.", th.id, th.body.str("Status"))
	}
	c.s.drop(th)
	return params{"DBSnapshot": shownDB(th).with(params{"Status": "deleted"})}, nil
}

func restoreInstance(c *call) (params, *apiError) {
	id, err := identified(c.in.str("DBInstanceIdentifier"), "DBInstanceIdentifier", maxIdentifier)
	if err != nil {
		return nil, err
	}
	from := strings.ToLower(c.in.str("DBSnapshotIdentifier"))
	from = from[strings.LastIndex(from, ":")+1:] // an ARN does as well
	snap := c.find("snapshot", from)
	switch {
	case c.find("db", id) != nil:
		return nil, fail("DBInstanceAlreadyExistsFault", "DB instance already exists")
	case snap == nil:
		return nil, fail("DBSnapshotNotFoundFault", "DBSnapshot not found: %s", from)
	case snap.body.str("Status") != available:
		return nil, fail("InvalidDBSnapshotStateFault", "The snapshot %s is not available: it is %s.", from, snap.body.str("Status"))
	}
	if err := c.checkSubnets(); err != nil {
		return nil, err
	}
	source, _ := snap.hidden["source"].(params)
	in := snap.body.take("Engine", "EngineVersion", "AllocatedStorage", "StorageType", "KmsKeyId").with(source).with(c.in)
	if !c.in.has("Tags") {
		in["Tags"] = tagList(snap.tags)
	}
	out := c.makeInstance(id, in)
	th := c.find("db", id)
	th.hidden["restored"], th.hidden["password"] = from, snap.hidden.str("password")
	return out, nil
}

func createClusterSnapshot(c *call) (params, *apiError) {
	th, err := c.readyCluster(available, stopped)
	if err != nil {
		return nil, err
	}
	id, err := c.makeClusterSnapshot(th, c.in.str("DBClusterSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	return params{"DBClusterSnapshot": shownDB(c.find("cluster-snapshot", id))}, nil
}

func (c *call) makeClusterSnapshot(cluster *thing, name string) (string, *apiError) {
	id, err := identified(name, "DBClusterSnapshotIdentifier", maxSnapshotID)
	if err != nil {
		return "", err
	}
	if c.find("cluster-snapshot", id) != nil {
		return "", fail("DBClusterSnapshotAlreadyExistsFault", "Cannot create the cluster snapshot because one with the identifier %s already exists.", id)
	}
	arn := c.arn("cluster-snapshot:" + id)
	th := c.new("cluster-snapshot", id, arn, c.snapshotTags(cluster), cluster.body.take("DBClusterIdentifier", "Engine", "EngineVersion",
		"MasterUsername", "KmsKeyId", "ClusterCreateTime", "EngineMode").with(params{
		"DBClusterSnapshotIdentifier": id, "DBClusterSnapshotArn": arn, "Status": creating, "SnapshotType": "manual", "SnapshotCreateTime": c.s.now(),
		"PercentProgress": int64(0), "StorageEncrypted": cluster.body.flag("StorageEncrypted"),
	}))
	th.hidden["source"] = cluster.body.take("DatabaseName", "MasterUsername")
	th.hidden["password"] = cluster.hidden.str("password")
	c.s.after(th, func() { th.body["Status"], th.body["PercentProgress"] = available, int64(100) })
	return id, nil
}

func describeClusterSnapshots(c *call) (params, *apiError) {
	return c.describe("cluster-snapshot", "DBClusterSnapshotIdentifier", "DBClusterSnapshots",
		fail("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot %s not found.", c.in.str("DBClusterSnapshotIdentifier")),
		map[string]string{"db-cluster-id": "DBClusterIdentifier", "db-cluster-snapshot-id": "DBClusterSnapshotIdentifier", "snapshot-type": "SnapshotType", "engine": "Engine"})
}

func deleteClusterSnapshot(c *call) (params, *apiError) {
	th := c.find("cluster-snapshot", strings.ToLower(c.in.str("DBClusterSnapshotIdentifier")))
	switch {
	case th == nil:
		return nil, fail("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot not found: %s", c.in.str("DBClusterSnapshotIdentifier"))
	case th.body.str("Status") != available:
		return nil, fail("InvalidDBClusterSnapshotStateFault", "The snapshot %s is not in the available state: it is %s.", th.id, th.body.str("Status"))
	}
	c.s.drop(th)
	return params{"DBClusterSnapshot": shownDB(th)}, nil
}
