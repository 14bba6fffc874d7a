package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

func (s *session) eks() *eks.Client {
	return clientOf(s, "eks", func(c awssdk.Config) *eks.Client { return eks.NewFromConfig(c) })
}

// trust is the policy that lets pods of the service account take the role.
func (t *role) trust(ctx context.Context) (string, error) {
	statement := map[string]any{"Effect": "Allow"}
	if t.Account.Via == viaPodIdentity {
		// Source: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html
		statement["Principal"] = map[string]any{"Service": "pods.eks.amazonaws.com"}
		statement["Action"] = []any{"sts:AssumeRole", "sts:TagSession"}
	} else {
		// Source: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
		provider, err := t.provider(ctx)
		if err != nil {
			return "", err
		}
		issuer := providerPattern.FindStringSubmatch(provider)[1]
		statement["Principal"] = map[string]any{"Federated": provider}
		statement["Action"] = "sts:AssumeRoleWithWebIdentity"
		statement["Condition"] = map[string]any{"StringEquals": map[string]any{
			issuer + ":aud": "sts.amazonaws.com", issuer + ":sub": "system:serviceaccount:" + t.Account.Namespace + ":" + t.Account.Name,
		}}
	}
	return t.written(statement)
}

func (t *role) written(statements ...map[string]any) (string, error) {
	data, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		return "", sdk.Internal("A policy of the %s cannot be written down: %w", t.title(), err)
	}
	return string(data), nil
}

// provider is the ARN of the OIDC provider that the cluster's tokens come from.
func (t *role) provider(ctx context.Context) (string, error) {
	if t.Account.Provider != "" {
		return t.Account.Provider, nil
	}
	out, err := t.s.eks().DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &t.Account.Cluster})
	if isCode(err, "ResourceNotFoundException") {
		return "", sdk.Invalid("There is no EKS cluster %q in %s: correct `cluster` of `iam_role`, or name the `oidc_provider` of one elsewhere.", t.Account.Cluster, t.s.place)
	}
	if err != nil {
		return "", err
	}
	id, err := t.s.accountID(ctx)
	if err != nil {
		return "", err
	}
	issuer := ""
	if out.Cluster.Identity != nil && out.Cluster.Identity.Oidc != nil {
		issuer = strings.TrimPrefix(awssdk.ToString(out.Cluster.Identity.Oidc.Issuer), "https://")
	}
	arn := fmt.Sprintf("arn:%s:iam::%s:oidc-provider/%s", t.s.partition(), id, issuer)
	if issuer == "" || !providerPattern.MatchString(arn) {
		return "", sdk.Invalid("The EKS cluster %q has no OIDC issuer: use `via: pod_identity`.", t.Account.Cluster)
	}
	return arn, nil
}

// grants are the actions that `access` allows, for what other kinds of the part
// make; write has those of read, too.
var grants = map[string]struct{ read, write []string }{
	"s3":     {[]string{"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"}, []string{"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}},
	"sqs":    {[]string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl"}, []string{"sqs:SendMessage"}},
	"sns":    {[]string{"sns:GetTopicAttributes"}, []string{"sns:Publish"}},
	"secret": {[]string{"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"}, []string{"secretsmanager:PutSecretValue"}},
}

func (t *role) checkAccess() error {
	for _, name := range slices.Sorted(maps.Keys(t.Access)) {
		how := t.Access[name]
		if _, ok := grants[name]; !ok || how != "read" && how != "write" {
			return sdk.Invalid("`access` of `iam_role` says %q: %q; it takes read or write for %s.", clip(name, 40), clip(how, 40), listed(slices.Sorted(maps.Keys(grants))))
		}
		if _, asked := t.s.step.With[name]; !asked {
			return sdk.Invalid("`access` of `iam_role` is about what the same part makes: it needs `%s` beside it.", name)
		}
	}
	return nil
}

// wanted are the inline policies that settings ask for; known is false while
// something that `access` is about is not there yet, as in a plan.
func (t *role) wanted() (policies map[string]string, known bool, err error) {
	policies = maps.Clone(t.inline)
	var statements []map[string]any
	for _, name := range slices.Sorted(maps.Keys(t.Access)) {
		arn := t.s.outputOf(name, "arn")
		if arn == "" {
			return policies, false, nil
		}
		actions := slices.Clone(grants[name].read)
		if t.Access[name] == "write" {
			actions = append(actions, grants[name].write...)
		}
		resources := []string{arn}
		if name == "s3" {
			resources = append(resources, arn+"/*")
		}
		statements = append(statements, map[string]any{"Effect": "Allow", "Action": actions, "Resource": resources})
	}
	if len(statements) > 0 {
		if policies[accessPolicy], err = t.written(statements...); err != nil {
			return nil, false, err
		}
	}
	return policies, true, nil
}

// changes are what makes the role what settings say. All of it is Berth's own,
// so that a policy that settings do not name goes.
func (t *role) changes(ctx context.Context, there *types.Role) ([]change, error) {
	var out []change
	trust, err := t.trust(ctx)
	if err != nil {
		return nil, err
	}
	if !sameJSON(document(there.AssumeRolePolicyDocument), trust) {
		out = append(out, change{"changes who may take it", func(ctx context.Context) error {
			_, err := t.s.iam().UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &t.name, PolicyDocument: &trust})
			return err
		}})
	}
	// The boundary comes before any policy, so that none is ever outside of it.
	out = append(out, t.bounded(there)...)
	tags := roleTags(there.Tags)
	associated := func(ctx context.Context) ([]change, error) { return t.associated(ctx, tags) }
	for _, compare := range []func(context.Context) ([]change, error){t.inlined, t.attached, associated} {
		more, err := compare(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	// Tags come last: they say which association there is until it is changed.
	if !t.s.tagged(tags) || tags[tagPodIdentity] != t.tags()[tagPodIdentity] {
		out = append(out, change{"sets other tags", func(ctx context.Context) error {
			_, err := t.s.iam().TagRole(ctx, &iam.TagRoleInput{RoleName: &t.name, Tags: t.asTags()})
			return err
		}})
	}
	return out, nil
}

func (t *role) bounded(there *types.Role) []change {
	have := ""
	if b := there.PermissionsBoundary; b != nil {
		have = awssdk.ToString(b.PermissionsBoundaryArn)
	}
	if have == t.Boundary {
		return nil
	}
	return []change{{"changes its permissions boundary", func(ctx context.Context) error {
		if t.Boundary == "" {
			_, err := t.s.iam().DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: &t.name})
			return err
		}
		_, err := t.s.iam().PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &t.name, PermissionsBoundary: &t.Boundary})
		return err
	}}}
}

func (t *role) inlined(ctx context.Context) ([]change, error) {
	want, known, err := t.wanted()
	if err != nil {
		return nil, err
	}
	names, err := t.inlineNames(ctx)
	if err != nil {
		return nil, err
	}
	var out []change
	for _, name := range names {
		if _, ok := want[name]; !ok && (known || name != accessPolicy) {
			out = append(out, change{"takes the policy " + name + " away", func(ctx context.Context) error { return t.dropInline(ctx, name) }})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		text := want[name]
		if slices.Contains(names, name) {
			have, err := t.s.iam().GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &t.name, PolicyName: &name})
			if err != nil && !noEntity(err) {
				return nil, err
			}
			if err == nil && sameJSON(document(have.PolicyDocument), text) {
				continue
			}
		}
		out = append(out, change{"sets the policy " + name, func(ctx context.Context) error {
			_, err := t.s.iam().PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &t.name, PolicyName: &name, PolicyDocument: &text})
			return err
		}})
	}
	return out, nil
}

func (t *role) inlineNames(ctx context.Context) ([]string, error) {
	var out []string
	pages := iam.NewListRolePoliciesPaginator(t.s.iam(), &iam.ListRolePoliciesInput{RoleName: &t.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noEntity(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, page.PolicyNames...)
	}
	return out, nil
}

func (t *role) dropInline(ctx context.Context, name string) error {
	_, err := t.s.iam().DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &t.name, PolicyName: &name})
	if noEntity(err) {
		return nil
	}
	return err
}

func (t *role) attached(ctx context.Context) ([]change, error) {
	have, err := t.attachedARNs(ctx)
	if err != nil {
		return nil, err
	}
	var out []change
	for _, arn := range have {
		if !slices.Contains(t.Managed, arn) {
			out = append(out, change{"detaches " + arn, func(ctx context.Context) error { return t.detach(ctx, arn) }})
		}
	}
	for _, arn := range t.Managed {
		if !slices.Contains(have, arn) {
			out = append(out, change{"attaches " + arn, func(ctx context.Context) error {
				_, err := t.s.iam().AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &t.name, PolicyArn: &arn})
				if noEntity(err) {
					return sdk.Invalid("There is no policy %s to attach to the %s: correct `managed` of `iam_role`.", arn, t.title())
				}
				return err
			}})
		}
	}
	return out, nil
}

func (t *role) attachedARNs(ctx context.Context) ([]string, error) {
	var out []string
	pages := iam.NewListAttachedRolePoliciesPaginator(t.s.iam(), &iam.ListAttachedRolePoliciesInput{RoleName: &t.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noEntity(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, p := range page.AttachedPolicies {
			out = append(out, awssdk.ToString(p.PolicyArn))
		}
	}
	return out, nil
}

func (t *role) detach(ctx context.Context, arn string) error {
	_, err := t.s.iam().DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &t.name, PolicyArn: &arn})
	if noEntity(err) {
		return nil
	}
	return err
}

// associated is what has to be done for Pod Identity to know of the role. tags
// are the role's.
func (t *role) associated(ctx context.Context, tags map[string]string) ([]change, error) {
	var out []change
	if old, ok := accountOfPath(tags[tagPodIdentity]); ok && old.path() != t.tags()[tagPodIdentity] {
		have, err := t.s.association(ctx, old)
		if err != nil {
			return nil, err
		}
		if have != nil && t.s.mine(have.Tags) {
			out = append(out, change{"is no longer associated with " + old.path(), func(ctx context.Context) error { return t.dissociate(ctx, old) }})
		}
	}
	if t.Account.Via != viaPodIdentity {
		return out, nil
	}
	have, err := t.s.association(ctx, t.Account)
	if err != nil {
		return nil, err
	}
	if have == nil {
		return append(out, change{"is associated with the service account", t.associate}), nil
	}
	if !t.s.mine(have.Tags) {
		return nil, t.s.refuse(fmt.Sprintf("Pod Identity association of %s/%s in cluster %q", t.Account.Namespace, t.Account.Name, t.Account.Cluster), have.Tags)
	}
	return out, nil
}

// association is that of a service account, nil when it has none.
func (s *session) association(ctx context.Context, a serviceAccount) (*ekstypes.PodIdentityAssociation, error) {
	list, err := s.eks().ListPodIdentityAssociations(ctx, &eks.ListPodIdentityAssociationsInput{ClusterName: &a.Cluster, Namespace: &a.Namespace, ServiceAccount: &a.Name})
	if isCode(err, "ResourceNotFoundException") {
		return nil, nil // the cluster is not there, and with it nothing that it knew
	}
	if err != nil || len(list.Associations) == 0 {
		return nil, err
	}
	out, err := s.eks().DescribePodIdentityAssociation(ctx, &eks.DescribePodIdentityAssociationInput{ClusterName: &a.Cluster, AssociationId: list.Associations[0].AssociationId})
	if isCode(err, "ResourceNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return out.Association, nil
}

func (t *role) associate(ctx context.Context) error {
	there, err := t.get(ctx)
	if err != nil || there == nil {
		return err
	}
	token := t.s.owner.token("pod-identity", t.Account.Cluster, t.Account.Namespace, t.Account.Name, awssdk.ToString(there.RoleId))
	_, err = t.s.eks().CreatePodIdentityAssociation(ctx, &eks.CreatePodIdentityAssociationInput{
		ClusterName: &t.Account.Cluster, Namespace: &t.Account.Namespace, ServiceAccount: &t.Account.Name,
		RoleArn: there.Arn, Tags: t.s.tags(), ClientRequestToken: &token,
	})
	if isCode(err, "ResourceNotFoundException") {
		return sdk.Invalid("There is no EKS cluster %q in %s: correct `cluster` of `iam_role`.", t.Account.Cluster, t.s.place)
	}
	return err
}

// remove takes the role's policies off it, which IAM wants, and deletes it.
func (t *role) remove(ctx context.Context) (progress, error) {
	there, err := t.get(ctx)
	if err != nil {
		return progress{}, err
	}
	if there == nil || !t.s.mine(roleTags(there.Tags)) {
		return finished()
	}
	if a, ok := accountOfPath(roleTags(there.Tags)[tagPodIdentity]); ok {
		if err := t.dissociate(ctx, a); err != nil {
			return progress{}, err
		}
	}
	names, err := t.inlineNames(ctx)
	if err != nil {
		return progress{}, err
	}
	for _, name := range names {
		if err := t.dropInline(ctx, name); err != nil {
			return progress{}, err
		}
	}
	arns, err := t.attachedARNs(ctx)
	if err != nil {
		return progress{}, err
	}
	for _, arn := range arns {
		if err := t.detach(ctx, arn); err != nil {
			return progress{}, err
		}
	}
	_, err = t.s.iam().DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &t.name})
	switch {
	case isCode(err, "DeleteConflict", "DeleteConflictException"):
		return progress{}, &sdk.Error{Fault: sdk.FaultDownstream, Err: err, Msg: "The " + t.title() + " is in use, so IAM does not delete it: " + clip(oneLine(saidBy(err)), 200) + ". Take it out of its instance profile."}
	case err != nil && !noEntity(err):
		return progress{}, err
	}
	return finished()
}

func (t *role) dissociate(ctx context.Context, a serviceAccount) error {
	have, err := t.s.association(ctx, a)
	if err != nil || have == nil || !t.s.mine(have.Tags) {
		return err
	}
	_, err = t.s.eks().DeletePodIdentityAssociation(ctx, &eks.DeletePodIdentityAssociationInput{ClusterName: &a.Cluster, AssociationId: have.AssociationId})
	if isCode(err, "ResourceNotFoundException") {
		return nil
	}
	return err
}
