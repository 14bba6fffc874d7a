package awstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var rdsOps = map[string]func(*call) (params, *apiError){
	"CreateDBInstance": createInstance, "DescribeDBInstances": describeInstances, "ModifyDBInstance": modifyInstance,
	"DeleteDBInstance": deleteInstance, "StopDBInstance": stopInstance, "StartDBInstance": startInstance,
	"RebootDBInstance": rebootInstance, "RestoreDBInstanceFromDBSnapshot": restoreInstance,
	"CreateDBSnapshot": createSnapshot, "DescribeDBSnapshots": describeSnapshots, "DeleteDBSnapshot": deleteSnapshot,
	"CreateDBCluster": createCluster, "DescribeDBClusters": describeClusters, "ModifyDBCluster": modifyCluster,
	"DeleteDBCluster": deleteCluster, "StopDBCluster": stopCluster, "StartDBCluster": startCluster,
	"RestoreDBClusterFromSnapshot": restoreCluster, "CreateDBClusterSnapshot": createClusterSnapshot,
	"DescribeDBClusterSnapshots": describeClusterSnapshots, "DeleteDBClusterSnapshot": deleteClusterSnapshot,
	"AddTagsToResource": tagRDS, "RemoveTagsFromResource": untagRDS, "ListTagsForResource": listTagsRDS,
	"DescribeDBSubnetGroups": describeSubnetGroups,
}

// Statuses of databases and snapshots.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
const (
	creating  = "creating"
	available = "available"
	modifying = "modifying"
	stopping  = "stopping"
	stopped   = "stopped"
	starting  = "starting"
	deleting  = "deleting"
)

// identifier is what databases and snapshots may be called; there must be no two
// hyphens in a row either.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html
var identifier = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$`)

const (
	maxIdentifier = 63
	maxSnapshotID = 255
)

// identified is an identifier as RDS keeps it: in lower case.
func identified(name, what string, most int) (string, *apiError) {
	if len(name) > most || !identifier.MatchString(name) || strings.Contains(name, "--") {
		return "", fail("InvalidParameterValue", "The parameter %s is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.", what)
	}
	return strings.ToLower(name), nil
}

var (
	engines = []string{"postgres", "mysql", "mariadb", "aurora-mysql", "aurora-postgresql", "oracle-se2", "sqlserver-ex"}
	class   = regexp.MustCompile(`^db\.([a-z0-9]+\.[a-z0-9]+|serverless)$`)
	// reservedUsers are words that an engine keeps to itself.
	reservedUsers = map[string][]string{
		"postgres": {"admin", "rdsadmin", "root"}, "aurora-postgresql": {"admin", "rdsadmin", "root"},
		"mysql": {"rdsadmin", "root"}, "aurora-mysql": {"rdsadmin", "root"}, "mariadb": {"rdsadmin", "root"},
	}
	databaseName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,62}$`)
	ports        = map[string]int64{"postgres": 5432, "aurora-postgresql": 5432, "mysql": 3306, "mariadb": 3306, "aurora-mysql": 3306}
)

// checkMaster holds a master user and its password to the rules of RDS.
func checkMaster(in params, engine string) *apiError {
	user, password, managed := in.str("MasterUsername"), in.str("MasterUserPassword"), in.flag("ManageMasterUserPassword")
	switch {
	case user == "":
		return fail("InvalidParameterValue", "The parameter MasterUsername must be provided and must not be blank.")
	case !regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,62}$`).MatchString(user), slices.Contains(reservedUsers[engine], user):
		return fail("InvalidParameterValue", "MasterUsername %s cannot be used as it is a reserved word used by the engine", user)
	case managed && password != "":
		return fail("InvalidParameterCombination", "You can't specify MasterUserPassword when ManageMasterUserPassword is true.")
	case !managed && (len(password) < 8 || strings.ContainsAny(password, `/@" `)):
		return fail("InvalidParameterValue", "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', '@', '\"', ' ' may be used, at least 8 of them.")
	}
	return nil
}

func createInstance(c *call) (params, *apiError) {
	id, err := identified(c.in.str("DBInstanceIdentifier"), "DBInstanceIdentifier", maxIdentifier)
	if err != nil {
		return nil, err
	}
	engine, cluster := c.in.str("Engine"), c.in.str("DBClusterIdentifier")
	switch {
	case !slices.Contains(engines, engine):
		return nil, fail("InvalidParameterValue", "Invalid DB engine: %s", engine)
	case !class.MatchString(c.in.str("DBInstanceClass")):
		return nil, fail("InvalidParameterValue", "Invalid DB Instance class: %s", c.in.str("DBInstanceClass"))
	case c.find("db", id) != nil:
		return nil, fail("DBInstanceAlreadyExistsFault", "DB instance already exists")
	case c.in.str("DBName") != "" && !databaseName.MatchString(c.in.str("DBName")):
		return nil, fail("InvalidParameterValue", "DBName must begin with a letter and contain only alphanumeric characters.")
	}
	if err := c.checkSubnets(); err != nil {
		return nil, err
	}
	if cluster != "" {
		return c.createMember(id, engine, cluster)
	}
	if strings.HasPrefix(engine, "aurora") {
		return nil, fail("InvalidParameterCombination", "The engine %s needs a DBClusterIdentifier.", engine)
	}
	if err := checkMaster(c.in, engine); err != nil {
		return nil, err
	}
	if n := c.in.num("AllocatedStorage"); n < 20 || n > 65536 {
		return nil, fail("InvalidParameterValue", "Invalid storage size for engine name %s and storage type gp2: %d", engine, n)
	}
	return c.makeInstance(id, c.in), nil
}

// makeInstance makes a database of what in says.
func (c *call) makeInstance(id string, in params) params {
	arn := c.arn("db:" + id)
	body := in.take("DBInstanceClass", "Engine", "EngineVersion", "AllocatedStorage", "MaxAllocatedStorage", "DBName", "MasterUsername",
		"MultiAZ", "StorageType", "Iops", "KmsKeyId", "DeletionProtection", "CopyTagsToSnapshot", "PubliclyAccessible",
		"BackupRetentionPeriod", "AutoMinorVersionUpgrade", "NetworkType", "StorageEncrypted", "LicenseModel", "DBClusterIdentifier", "PromotionTier").with(params{
		"DBInstanceIdentifier": id, "DBInstanceArn": arn, "DBInstanceStatus": creating,
		"DbiResourceId": fmt.Sprintf("db-%026d", c.s.number()), "InstanceCreateTime": c.s.now(),
	})
	if in.has("EnableIAMDatabaseAuthentication") {
		body["IAMDatabaseAuthenticationEnabled"] = in["EnableIAMDatabaseAuthentication"]
	}
	if g := in.str("DBSubnetGroupName"); g != "" {
		body["DBSubnetGroup"] = params{"DBSubnetGroupName": g}
	}
	if g := in.str("DBParameterGroupName"); g != "" {
		body["DBParameterGroups"] = []any{params{"DBParameterGroupName": g, "ParameterApplyStatus": "in-sync"}}
	}
	body["VpcSecurityGroups"] = securityGroups(in)
	if !body.has("EngineVersion") {
		body["EngineVersion"] = map[string]string{"postgres": "16.3", "mysql": "8.0.35"}[body.str("Engine")]
	}
	th := c.new("db", id, arn, tagsOf(in, "Tags"), body)
	port := in.num("Port")
	if port == 0 {
		port = ports[body.str("Engine")]
	}
	if in.flag("ManageMasterUserPassword") {
		c.manageSecret(th, in)
	}
	if p := in.str("MasterUserPassword"); p != "" {
		th.hidden["password"] = p
	}
	address := fmt.Sprintf("%s.c0ffee.%s.rds.amazonaws.com", id, c.region)
	c.s.after(th, func() {
		th.body["DBInstanceStatus"] = available
		th.body["Endpoint"] = params{"Address": address, "Port": port, "HostedZoneId": "Z0123456789ABCDEFGHIJ"}
	})
	return params{"DBInstance": shownDB(th)}
}

func securityGroups(in params) []any {
	out := []any{}
	for _, g := range in.strs("VpcSecurityGroupIds") {
		out = append(out, params{"VpcSecurityGroupId": g, "Status": "active"})
	}
	return out
}

// manageSecret has RDS make a secret for a database's master user.
func (c *call) manageSecret(th *thing, in params) {
	name := fmt.Sprintf("rds!%s-%012d", map[bool]string{true: "cluster", false: "db"}[th.kind == "cluster"], c.s.number())
	arn := fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:%s-%s", c.region, c.account, name, suffix(c.s.number()))
	c.s.add(&thing{
		account: c.account, region: c.region, service: "secretsmanager", kind: "secret", id: name, arn: arn,
		tags:   map[string]string{"aws:secretsmanager:owningService": "rds", "aws:rds:primaryDBInstanceArn": th.arn},
		body:   params{"ARN": arn, "Name": name, "CreatedDate": c.s.now(), "OwningService": "rds"},
		hidden: params{"SecretString": fmt.Sprintf(`{"username":%q,"password":"managed-%d"}`, th.body.str("MasterUsername"), c.s.number()), "version": "1"},
	})
	th.body["MasterUserSecret"] = params{"SecretArn": arn, "SecretStatus": "active", "KmsKeyId": in.or("MasterUserSecretKmsKeyId", "arn:aws:kms:"+c.region+":"+c.account+":key/aws-secretsmanager")}
}

// gone takes a database away, with the secret that RDS keeps for it.
func (s *Server) dropDatabase(th *thing) {
	if arn := th.body.sub("MasterUserSecret").str("SecretArn"); arn != "" {
		for _, secret := range s.pick(func(t *thing) bool { return t.arn == arn }) {
			s.drop(secret)
		}
	}
	s.drop(th)
}

func shownDB(th *thing) params { return th.body.with(params{"TagList": tagList(th.tags)}) }

func (c *call) instance() (*thing, *apiError) {
	if th := c.find("db", strings.ToLower(c.in.str("DBInstanceIdentifier"))); th != nil {
		return th, nil
	}
	return nil, fail("DBInstanceNotFoundFault", "DBInstance %s not found.", c.in.str("DBInstanceIdentifier"))
}

// ready is a database in one of some statuses.
func (c *call) ready(statuses ...string) (*thing, *apiError) {
	th, err := c.instance()
	if err == nil && !slices.Contains(statuses, th.body.str("DBInstanceStatus")) {
		return nil, fail("InvalidDBInstanceStateFault", "Instance %s is not in %s state: it is %s.", th.id, strings.Join(statuses, " or "), th.body.str("DBInstanceStatus"))
	}
	return th, err
}

func describeInstances(c *call) (params, *apiError) {
	return c.describe("db", "DBInstanceIdentifier", "DBInstances", fail("DBInstanceNotFoundFault", "DBInstance %s not found.", c.in.str("DBInstanceIdentifier")),
		map[string]string{"db-instance-id": "DBInstanceIdentifier", "db-cluster-id": "DBClusterIdentifier", "engine": "Engine", "dbi-resource-id": "DbiResourceId"})
}

// describe lists things of RDS: one by its identifier, or all that the filters
// let through, in pages.
func (c *call) describe(kind, member, list string, missing *apiError, filters map[string]string) (params, *apiError) {
	all := c.all(kind)
	if id := strings.ToLower(c.in.str(member)); id != "" {
		th := c.find(kind, id)
		for _, other := range all { // an ARN does as well
			if strings.EqualFold(other.arn, id) {
				th = other
			}
		}
		if th == nil {
			return nil, missing
		}
		all = []*thing{th}
	}
	if n := c.in.num("MaxRecords"); c.in.has("MaxRecords") && (n < 20 || n > 100) {
		return nil, fail("InvalidParameterValue", "Invalid value %d for MaxRecords. Must be between 20 and 100", n)
	}
	for _, f := range c.in.subs("Filters") {
		field, ok := filters[f.str("Name")]
		if !ok {
			return nil, fail("InvalidParameterValue", "Unrecognized filter name: %s", f.str("Name"))
		}
		all = slices.DeleteFunc(slices.Clone(all), func(th *thing) bool {
			return !slices.Contains(f.strs("Values"), th.body.str(field)) && !slices.Contains(f.strs("Values"), th.arn)
		})
	}
	got, next := page(all, c.in.str("Marker"), int(c.in.num("MaxRecords")), c.s.opts.Page)
	c.s.look(got...)
	out := []any{}
	for _, th := range got {
		if c.find(kind, th.id) == th {
			out = append(out, shownDB(th))
		}
	}
	if c.in.str(member) != "" && len(out) == 0 {
		return nil, missing
	}
	answer := params{list: out}
	if next != "" {
		answer["Marker"] = next
	}
	return answer, nil
}

func modifyInstance(c *call) (params, *apiError) {
	th, err := c.ready(available, stopped, "storage-optimization")
	if err != nil {
		return nil, err
	}
	if n := c.in.num("AllocatedStorage"); n > 0 && n < th.body.num("AllocatedStorage") {
		return nil, fail("InvalidParameterCombination", "Requested storage size (%d) cannot be less than the current storage size (%d)", n, th.body.num("AllocatedStorage"))
	}
	if k := c.in.str("DBInstanceClass"); k != "" && !class.MatchString(k) {
		return nil, fail("InvalidParameterValue", "Invalid DB Instance class: %s", k)
	}
	if err := upgrades(th, c.in); err != nil {
		return nil, err
	}
	status := th.body.str("DBInstanceStatus")
	for k, v := range c.in.take("DBInstanceClass", "AllocatedStorage", "MaxAllocatedStorage", "EngineVersion", "MultiAZ", "StorageType", "Iops",
		"DeletionProtection", "CopyTagsToSnapshot", "PubliclyAccessible", "BackupRetentionPeriod", "AutoMinorVersionUpgrade") {
		th.body[k] = v
	}
	if n := c.in.num("DBPortNumber"); n > 0 && th.body.has("Endpoint") {
		th.body.sub("Endpoint")["Port"] = n
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
	th.body["DBInstanceStatus"] = modifying
	c.s.after(th, func() { th.body["DBInstanceStatus"] = status })
	return params{"DBInstance": shownDB(th)}, nil
}

// upgrades refuses another major version unless the call says that it is meant,
// and going back.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
func upgrades(th *thing, in params) *apiError {
	major := func(version string) string { first, _, _ := strings.Cut(version, "."); return first }
	want, now := major(in.str("EngineVersion")), major(th.body.str("EngineVersion"))
	switch {
	case want == "" || want == now:
		return nil
	case len(want) < len(now) || len(want) == len(now) && want < now:
		return fail("InvalidParameterCombination", "Cannot upgrade %s from %s to %s", th.body.str("Engine"), now, want)
	case !in.flag("AllowMajorVersionUpgrade"):
		return fail("InvalidParameterCombination", "The AllowMajorVersionUpgrade flag must be present when upgrading to a new major version.")
	}
	return nil
}

func stopInstance(c *call) (params, *apiError) {
	th, err := c.ready(available)
	if err != nil {
		return nil, err
	}
	if th.body.has("DBClusterIdentifier") {
		return nil, fail("InvalidDBClusterStateFault", "The instance is part of a cluster: stop the cluster.")
	}
	if snap := c.in.str("DBSnapshotIdentifier"); snap != "" {
		if err := c.makeSnapshot(th, snap); err != nil {
			return nil, err
		}
	}
	th.body["DBInstanceStatus"] = stopping
	c.s.after(th, func() { th.body["DBInstanceStatus"] = stopped })
	return params{"DBInstance": shownDB(th)}, nil
}

func startInstance(c *call) (params, *apiError) { return c.restartInstance(stopped, starting) }

func rebootInstance(c *call) (params, *apiError) { return c.restartInstance(available, "rebooting") }

func (c *call) restartInstance(from, through string) (params, *apiError) {
	th, err := c.ready(from)
	if err != nil {
		return nil, err
	}
	th.body["DBInstanceStatus"] = through
	c.s.after(th, func() { th.body["DBInstanceStatus"] = available })
	return params{"DBInstance": shownDB(th)}, nil
}

func deleteInstance(c *call) (params, *apiError) {
	th, err := c.instance()
	if err != nil {
		return nil, err
	}
	skip, final, status := c.in.flag("SkipFinalSnapshot"), c.in.str("FinalDBSnapshotIdentifier"), th.body.str("DBInstanceStatus")
	member := th.body.has("DBClusterIdentifier")
	switch {
	case status == deleting:
		return nil, fail("InvalidDBInstanceStateFault", "Instance %s is already being deleted.", th.id)
	case th.body.flag("DeletionProtection"):
		return nil, fail("InvalidParameterCombination", "Cannot delete protected DB Instance, please disable deletion protection and try again.")
	case skip && final != "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot.")
	case member && final != "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting a cluster instance")
	case !member && !skip && final == "":
		return nil, fail("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
	case !member && !skip && status == creating:
		return nil, fail("InvalidDBInstanceStateFault", "Instance %s is currently creating - a final snapshot cannot be taken.", th.id)
	}
	if final != "" {
		if err := c.makeSnapshot(th, final); err != nil {
			return nil, err
		}
	}
	th.body["DBInstanceStatus"] = deleting
	c.s.after(th, func() { c.s.dropDatabase(th) })
	return params{"DBInstance": shownDB(th)}, nil
}
