package aws

import (
	"encoding/json"
	"slices"
	"strings"
)

// right is one statement of an IAM policy.
type right struct {
	sid       string
	actions   []string
	resources []string
}

// rightsOf are the least rights that the executor needs for each kind. They are
// bound to names that begin with berth-, which all have that settings do not name
// otherwise. A test holds the executor's calls to them.
// Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
var rightsOf = map[string][]right{
	"secret": {
		{"BerthFindSecrets", []string{"secretsmanager:ListSecrets"}, []string{"*"}},
		{"BerthSecrets", []string{
			"secretsmanager:CreateSecret", "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
			"secretsmanager:PutSecretValue", "secretsmanager:RestoreSecret", "secretsmanager:TagResource", "secretsmanager:UpdateSecret",
		}, []string{"arn:aws:secretsmanager:*:*:secret:berth-*"}},
	},
	"rds": {
		{"BerthFindInstances", []string{"rds:DescribeDBInstances", "rds:DescribeDBSnapshots"}, []string{"*"}},
		{"BerthInstances", []string{
			"rds:AddTagsToResource", "rds:CreateDBInstance", "rds:CreateDBSnapshot", "rds:DeleteDBInstance", "rds:DeleteDBSnapshot", "rds:ModifyDBInstance",
			"rds:RebootDBInstance", "rds:RestoreDBInstanceFromDBSnapshot", "rds:StartDBInstance", "rds:StopDBInstance",
		}, []string{"arn:aws:rds:*:*:db:berth-*", "arn:aws:rds:*:*:snapshot:berth-*"}},
		{"BerthInstancesUse", []string{"rds:CreateDBInstance", "rds:ModifyDBInstance", "rds:RestoreDBInstanceFromDBSnapshot"}, []string{
			"arn:aws:rds:*:*:og:*", "arn:aws:rds:*:*:pg:*", "arn:aws:rds:*:*:subgrp:*", "arn:aws:rds:*:*:secgrp:*", "arn:aws:rds:*:*:snapshot:*",
		}},
		managedPasswords,
	},
	"aurora": {
		{"BerthFindClusters", []string{"rds:DescribeDBClusters", "rds:DescribeDBClusterSnapshots", "rds:DescribeDBInstances"}, []string{"*"}},
		{"BerthClusters", []string{
			"rds:AddTagsToResource", "rds:CreateDBCluster", "rds:CreateDBClusterSnapshot", "rds:CreateDBInstance", "rds:DeleteDBCluster", "rds:DeleteDBClusterSnapshot",
			"rds:DeleteDBInstance", "rds:ModifyDBCluster", "rds:ModifyDBInstance", "rds:RebootDBInstance", "rds:RestoreDBClusterFromSnapshot",
			"rds:StartDBCluster", "rds:StopDBCluster",
		}, []string{"arn:aws:rds:*:*:cluster:berth-*", "arn:aws:rds:*:*:cluster-snapshot:berth-*", "arn:aws:rds:*:*:db:berth-*"}},
		{"BerthClustersUse", []string{"rds:CreateDBCluster", "rds:CreateDBInstance", "rds:ModifyDBCluster", "rds:RestoreDBClusterFromSnapshot"}, []string{
			"arn:aws:rds:*:*:cluster-pg:*", "arn:aws:rds:*:*:cluster-snapshot:*", "arn:aws:rds:*:*:og:*", "arn:aws:rds:*:*:pg:*", "arn:aws:rds:*:*:subgrp:*",
		}},
		managedPasswords,
	},
	"s3": {
		{"BerthFindBuckets", []string{"s3:ListAllMyBuckets"}, []string{"*"}},
		{"BerthBuckets", []string{
			"s3:CreateBucket", "s3:DeleteBucket", "s3:GetBucketPublicAccessBlock", "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetEncryptionConfiguration",
			"s3:GetLifecycleConfiguration", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions", "s3:PutBucketPublicAccessBlock",
			"s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource",
		}, []string{"arn:aws:s3:::berth-*"}},
		{"BerthObjects", []string{"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectVersion"}, []string{"arn:aws:s3:::berth-*/*"}},
	},
	"sqs": {
		{"BerthFindQueues", []string{"sqs:ListQueues"}, []string{"*"}},
		{"BerthQueues", []string{
			"sqs:CreateQueue", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags", "sqs:SetQueueAttributes", "sqs:TagQueue",
		}, []string{"arn:aws:sqs:*:*:berth-*"}},
	},
	"sns": {
		{"BerthFindTopics", []string{"sns:ListTopics"}, []string{"*"}},
		{"BerthTopics", []string{
			"sns:CreateTopic", "sns:DeleteTopic", "sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:ListTagsForResource",
			"sns:SetSubscriptionAttributes", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource",
		}, []string{"arn:aws:sns:*:*:berth-*"}},
	},
	"ecr": {
		{"BerthFindRepositories", []string{"ecr:DescribeRepositories"}, []string{"*"}},
		{"BerthRepositories", []string{
			"ecr:CreateRepository", "ecr:DeleteRepository", "ecr:GetLifecyclePolicy", "ecr:ListImages", "ecr:ListTagsForResource",
			"ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:TagResource",
		}, []string{"arn:aws:ecr:*:*:repository/berth-*"}},
	},
	"iam_role": {
		{"BerthFindRoles", []string{"iam:ListRoles"}, []string{"*"}},
		{"BerthRoles", []string{
			"iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePermissionsBoundary", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
			"iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:ListRoleTags", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:TagRole",
			"iam:UpdateAssumeRolePolicy", "iam:PassRole",
		}, []string{"arn:aws:iam::*:role/berth/*"}},
		{"BerthClustersIdentity", []string{
			"eks:CreatePodIdentityAssociation", "eks:DeletePodIdentityAssociation", "eks:DescribeCluster", "eks:DescribePodIdentityAssociation",
			"eks:ListPodIdentityAssociations", "eks:TagResource",
		}, []string{"*"}},
	},
	"stack": {
		{"BerthFindStacks", []string{"cloudformation:DescribeStacks"}, []string{"*"}},
		{"BerthStacks", []string{
			"cloudformation:CreateStack", "cloudformation:DeleteStack",
			"cloudformation:DescribeStackEvents", "cloudformation:DescribeStacks",
			"cloudformation:GetTemplate", "cloudformation:ListStackResources", "cloudformation:TagResource", "cloudformation:UpdateStack",
		}, []string{"arn:aws:cloudformation:*:*:stack/berth-*"}},
	},
}

// managedPasswords is what AWS asks of who has it keep a database's password.
// Source: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html#rds-secrets-manager-permissions
var managedPasswords = right{
	"BerthManagedPasswords", []string{"kms:DescribeKey", "secretsmanager:CreateSecret", "secretsmanager:TagResource"}, []string{"*"},
}

// policy is an IAM policy with the least rights for kinds, as JSON.
func policy(all []kind) string {
	type statement struct {
		Sid      string
		Effect   string
		Action   []string
		Resource []string
	}
	var statements []statement
	for _, k := range all {
		for _, r := range rightsOf[k.name] {
			if slices.ContainsFunc(statements, func(s statement) bool { return s.Sid == r.sid }) {
				continue
			}
			statements = append(statements, statement{r.sid, "Allow", r.actions, r.resources})
		}
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	if err != nil {
		return ""
	}
	return b.String()
}
