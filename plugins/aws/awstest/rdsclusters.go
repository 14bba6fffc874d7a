package awstest

import (
	"fmt"
	"slices"
	"strings"
)

func createCluster(c *call) (params, *apiError) {
	engine := c.in.str("Engine")
	if !strings.HasPrefix(engine, "aurora-") || !slices.Contains(engines, engine) {
		return nil, fail("InvalidParameterValue", "The engine %q is none of Aurora's.", engine)
	}
	id, err := c.newCluster()
	if err != nil {
		return nil, err
	}
	if err := checkMaster(c.in, engine); err != nil {
		return nil, err
	}
	return c.makeCluster(id, c.in), nil
}

// newCluster is the identifier of a cluster that is to be.
func (c *call) newCluster() (string, *apiError) {
	id, err := identified(c.in.str("DBClusterIdentifier"), "DBClusterIdentifier", maxIdentifier)
	if err != nil {
		return "", err
	}
	if c.find("cluster", id) != nil {
		return "", fail("DBClusterAlreadyExistsFault", "DB Cluster already exists")
	}
	return id, c.checkSubnets()
}

func (c *call) makeCluster(id string, in params) params {
	arn := c.arn("cluster:" + id)
	body := in.take("Engine", "EngineVersion", "EngineMode", "DatabaseName", "MasterUsername", "KmsKeyId", "StorageEncrypted", "DeletionProtection",
		"CopyTagsToSnapshot", "BackupRetentionPeriod", "StorageType", "NetworkType").with(params{
		"DBClusterIdentifier": id, "DBClusterArn": arn, "Status": creating, "ClusterCreateTime": c.s.now(),
		"DbClusterResourceId": fmt.Sprintf("cluster-%026d", c.s.number()), "VpcSecurityGroups": securityGroups(in), "DBClusterMembers": []any{},
		"Endpoint":       fmt.Sprintf("%s.cluster-c0ffee.%s.rds.amazonaws.com", id, c.region),
		"ReaderEndpoint": fmt.Sprintf("%s.cluster-ro-c0ffee.%s.rds.amazonaws.com", id, c.region),
	})
	if in.has("ServerlessV2ScalingConfiguration") {
		body["ServerlessV2ScalingConfiguration"] = in["ServerlessV2ScalingConfiguration"]
	}
	if in.has("EnableIAMDatabaseAuthentication") {
		body["IAMDatabaseAuthenticationEnabled"] = in["EnableIAMDatabaseAuthentication"]
	}
	if g := in.str("DBSubnetGroupName"); g != "" {
		body["DBSubnetGroup"] = g
	}
	if body["Port"] = in["Port"]; in.num("Port") == 0 {
		body["Port"] = ports[in.str("Engine")]
	}
	th := c.new("cluster", id, arn, tagsOf(in, "Tags"), body)
	if in.flag("ManageMasterUserPassword") {
		c.manageSecret(th, in)
	}
	if p := in.str("MasterUserPassword"); p != "" {
		th.hidden["password"] = p
	}
	c.s.after(th, func() { th.body["Status"] = available })
	return params{"DBCluster": shownDB(th)}
}

// createMember adds an instance to a cluster.
func (c *call) createMember(id, engine, cluster string) (params, *apiError) {
	th := c.find("cluster", strings.ToLower(cluster))
	switch {
	case th == nil:
		return nil, fail("DBClusterNotFoundFault", "DBCluster %s not found.", cluster)
	case th.body.str("Engine") != engine:
		return nil, fail("InvalidParameterCombination", "The engine name requested for your DB instance (%s) doesn't match the engine name of your DB cluster (%s).", engine, th.body.str("Engine"))
	case th.body.str("Status") == deleting, th.body.str("Status") == stopped, th.body.str("Status") == stopping:
		return nil, fail("InvalidDBClusterStateFault", "The cluster is %s.", th.body.str("Status"))
	case c.in.has("MasterUsername"), c.in.has("MasterUserPassword"), c.in.has("AllocatedStorage"), c.in.has("DBName"), c.in.has("ManageMasterUserPassword"), c.in.has("VpcSecurityGroupIds"), c.in.has("StorageEncrypted"), c.in.has("BackupRetentionPeriod"), c.in.has("DeletionProtection"):
		return nil, fail("InvalidParameterCombination", "What the cluster decides cannot be set for an instance of it.")
	case c.in.str("DBInstanceClass") == "db.serverless" && !th.body.has("ServerlessV2ScalingConfiguration"):
		return nil, fail("InvalidParameterCombination", "Set the Serverless v2 scaling configuration on the parent DB cluster before creating a Serverless v2 DB instance.")
	}
	writer := len(th.body.list("DBClusterMembers")) == 0
	th.body["DBClusterMembers"] = append(th.body.list("DBClusterMembers"), params{"DBInstanceIdentifier": id, "IsClusterWriter": writer})
	in := c.in.with(th.body.take("MasterUsername", "EngineVersion"))
	in["DBClusterIdentifier"] = th.id
	return c.makeInstance(id, in), nil
}

func (c *call) cluster() (*thing, *apiError) {
	if th := c.find("cluster", strings.ToLower(c.in.str("DBClusterIdentifier"))); th != nil {
		return th, nil
	}
	return nil, fail("DBClusterNotFoundFault", "DBCluster %s not found.", c.in.str("DBClusterIdentifier"))
}

func (c *call) readyCluster(statuses ...string) (*thing, *apiError) {
	th, err := c.cluster()
	if err == nil && !slices.Contains(statuses, th.body.str("Status")) {
		return nil, fail("InvalidDBClusterStateFault", "DbCluster %s is not in %s state: it is %s.", th.id, strings.Join(statuses, " or "), th.body.str("Status"))
	}
	return th, err
}

func describeClusters(c *call) (params, *apiError) {
	return c.describe("cluster", "DBClusterIdentifier", "DBClusters", fail("DBClusterNotFoundFault", "DBCluster %s not found.", c.in.str("DBClusterIdentifier")),
		map[string]string{"db-cluster-id": "DBClusterIdentifier", "engine": "Engine", "db-cluster-resource-id": "DbClusterResourceId"})
}

func modifyCluster(c *call) (params, *apiError) {
	th, err := c.readyCluster(available, stopped)
	if err != nil {
		return nil, err
	}
	if err := upgrades(th, c.in); err != nil {
		return nil, err
	}
	status := th.body.str("Status")
	for k, v := range c.in.take("Port", "EngineVersion", "DeletionProtection", "CopyTagsToSnapshot", "BackupRetentionPeriod", "StorageType", "ServerlessV2ScalingConfiguration") {
		th.body[k] = v
	}
	if c.in.has("VpcSecurityGroupIds") {
		th.body["VpcSecurityGroups"] = securityGroups(c.in)
	}
	if p := c.in.str("MasterUserPassword"); p != "" {
		th.hidden["password"] = p
	}
	if c.in.flag("ManageMasterUserPassword") && !th.body.has("MasterUserSecret") {
		c.manageSecret(th, c.in)
	}
	th.body["Status"] = modifying
	c.s.after(th, func() { th.body["Status"] = status })
	return params{"DBCluster": shownDB(th)}, nil
}

// members are the instances of a cluster that are still there.
func (c *call) members(cluster *thing) []*thing {
	var out []*thing
	for _, db := range c.all("db") {
		if db.body.str("DBClusterIdentifier") == cluster.id {
			out = append(out, db)
		}
	}
	return out
}

func stopCluster(c *call) (params, *apiError) { return c.turnCluster(available, stopping, stopped) }

func startCluster(c *call) (params, *apiError) { return c.turnCluster(stopped, starting, available) }

// turnCluster stops or starts a cluster with its instances.
func (c *call) turnCluster(from, through, to string) (params, *apiError) {
	th, err := c.readyCluster(from)
	if err != nil {
		return nil, err
	}
	members := c.members(th)
	for _, db := range members {
		if s := db.body.str("DBInstanceStatus"); s != from {
			return nil, fail("InvalidDBInstanceStateFault", "Instance %s of the cluster is %s.", db.id, s)
		}
	}
	set := func(status string) {
		th.body["Status"] = status
		for _, db := range members {
			db.body["DBInstanceStatus"] = status
		}
	}
	set(through)
	c.s.after(th, func() { set(to) })
	return params{"DBCluster": shownDB(th)}, nil
}

func deleteCluster(c *call) (params, *apiError) {
	th, err := c.cluster()
	if err != nil {
		return nil, err
	}
	skip, final := c.in.flag("SkipFinalSnapshot"), c.in.str("FinalDBSnapshotIdentifier")
	switch {
	case th.body.str("Status") == deleting:
		return nil, fail("InvalidDBClusterStateFault", "Cluster %s is already being deleted.", th.id)
	case th.body.flag("DeletionProtection"):
		return nil, fail("InvalidParameterCombination", "Cannot delete protected Cluster, please disable deletion protection and try again.")
	case skip && final != "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot.")
	case !skip && final == "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required when deleting a cluster, unless SkipFinalSnapshot is specified.")
	case !skip && th.body.str("Status") != available:
		return nil, fail("InvalidDBClusterStateFault", "DbCluster %s is not available: no final snapshot can be taken.", th.id)
	}
	for _, db := range c.members(th) {
		if db.body.str("DBInstanceStatus") != deleting {
			return nil, fail("InvalidDBClusterStateFault", "Cluster cannot be deleted, it still contains DB instances in non-deleting state.")
		}
	}
	if final != "" {
		if _, err := c.makeClusterSnapshot(th, final); err != nil {
			return nil, err
		}
	}
	th.body["Status"] = deleting
	c.s.after(th, func() { c.s.dropDatabase(th) })
	return params{"DBCluster": shownDB(th)}, nil
}

func restoreCluster(c *call) (params, *apiError) {
	id, err := c.newCluster()
	if err != nil {
		return nil, err
	}
	from := strings.ToLower(c.in.str("SnapshotIdentifier"))
	from = from[strings.LastIndex(from, ":")+1:]
	snap := c.find("cluster-snapshot", from)
	switch {
	case snap == nil:
		return nil, fail("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot not found: %s", from)
	case snap.body.str("Status") != available:
		return nil, fail("InvalidDBClusterSnapshotStateFault", "The snapshot %s is not available: it is %s.", from, snap.body.str("Status"))
	case snap.body.str("Engine") != c.in.str("Engine"):
		return nil, fail("InvalidParameterValue", "The engine %s is not that of the snapshot.", c.in.str("Engine"))
	}
	source, _ := snap.hidden["source"].(params)
	in := snap.body.take("EngineVersion", "KmsKeyId", "StorageEncrypted").with(source).with(c.in)
	if !c.in.has("Tags") {
		in["Tags"] = tagList(snap.tags)
	}
	out := c.makeCluster(id, in)
	th := c.find("cluster", id)
	th.hidden["restored"], th.hidden["password"] = from, snap.hidden.str("password")
	return out, nil
}

// tagged is the thing of RDS with an ARN.
func (c *call) tagged() (*thing, *apiError) {
	arn := c.in.str("ResourceName")
	for _, kind := range []string{"db", "cluster", "snapshot", "cluster-snapshot"} {
		for _, th := range c.all(kind) {
			if th.arn == arn {
				return th, nil
			}
		}
	}
	switch {
	case strings.Contains(arn, ":db:"):
		return nil, fail("DBInstanceNotFoundFault", "%s not found", arn)
	case strings.Contains(arn, "cluster:"):
		return nil, fail("DBClusterNotFoundFault", "%s not found", arn)
	}
	return nil, fail("DBSnapshotNotFoundFault", "%s not found", arn)
}

func tagRDS(c *call) (params, *apiError) {
	th, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return nil, setTags(th, tagsOf(c.in, "Tags"), "InvalidParameterValue")
}

func untagRDS(c *call) (params, *apiError) {
	th, err := c.tagged()
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("TagKeys") {
		delete(th.tags, k)
	}
	return nil, nil
}

func listTagsRDS(c *call) (params, *apiError) {
	th, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return params{"TagList": tagList(th.tags)}, nil
}

// AddSubnetGroup makes a group of subnets for databases, as whoever runs the
// account does.
func (s *Server) AddSubnetGroup(account, region, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:rds:%s:%s:subgrp:%s", region, account, name)
	s.add(&thing{
		given: true, account: account, region: region, service: "rds", kind: "subgrp", id: name, arn: arn,
		body: params{"DBSubnetGroupName": name, "DBSubnetGroupArn": arn, "SubnetGroupStatus": "Complete", "VpcId": "vpc-0123456789abcdef0"},
	})
}

func (c *call) checkSubnets() *apiError {
	if name := c.in.str("DBSubnetGroupName"); name != "" && c.find("subgrp", name) == nil {
		return fail("DBSubnetGroupNotFoundFault", "DBSubnetGroup '%s' doesn't exist.", name)
	}
	return nil
}

func describeSubnetGroups(c *call) (params, *apiError) {
	list := []any{}
	for _, th := range c.all("subgrp") {
		if name := c.in.str("DBSubnetGroupName"); name == "" || name == th.id {
			list = append(list, th.body)
		}
	}
	if c.in.has("DBSubnetGroupName") && len(list) == 0 {
		return nil, fail("DBSubnetGroupNotFoundFault", "DBSubnetGroup '%s' doesn't exist.", c.in.str("DBSubnetGroupName"))
	}
	return params{"DBSubnetGroups": list}, nil
}
