package aws

import (
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func roleWith(account, more map[string]any) map[string]any {
	all := map[string]any{"service_account": account}
	for k, v := range more {
		all[k] = v
	}
	return map[string]any{"iam_role": all}
}

var webAccount = map[string]any{"name": "web", "namespace": "shop-pr-42", "cluster": testCluster}

func TestARoleTrustsOneServiceAccountAndStaysInItsBoundary(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	boundary, other := w.AddPolicy(awstest.Account, "boundary"), w.AddPolicy(awstest.Account, "other")
	client := iam.NewFromConfig(w.Config(testRegion))
	step := w.step(sdk.Deploy, roleWith(webAccount, map[string]any{"permissions_boundary": other, "managed": []any{other}}))
	step.Settings["permissions_boundary"] = boundary
	name := awssdk.String(w.must(t, step).outputs["name"])
	look := func() string {
		t.Helper()
		out, err := client.GetRole(t.Context(), &iam.GetRoleInput{RoleName: name})
		if err != nil {
			t.Fatal(err)
		}
		return awssdk.ToString(out.Role.PermissionsBoundary.PermissionsBoundaryArn) + " " + document(out.Role.AssumeRolePolicyDocument)
	}
	if got := look(); !strings.HasPrefix(got, boundary+" ") || !strings.Contains(got, `:sub":"system:serviceaccount:shop-pr-42:web"`) || !strings.Contains(got, `:aud":"sts.amazonaws.com"`) {
		t.Errorf("the role is %s", got)
	}
	// Somebody takes it out of its boundary, gives it more, and is undone.
	policy := awssdk.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	for _, err := range []error{
		second(client.PutRolePermissionsBoundary(t.Context(), &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: &other})),
		second(client.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: name, PolicyName: awssdk.String("mine"), PolicyDocument: policy})),
		second(client.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: awssdk.String("arn:aws:iam::aws:policy/AdministratorAccess")})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen, err := w.executor().Observe(t.Context(), step)
	if err != nil || len(seen.Drift) != 3 {
		t.Errorf("drift is %q, %v", seen.Drift, err)
	}
	w.must(t, step)
	if seen, err = w.executor().Observe(t.Context(), step); err != nil || len(seen.Drift) != 0 || !strings.HasPrefix(look(), boundary+" ") {
		t.Errorf("after a deploy drift is %q, %v", seen.Drift, err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAnAssociationMovesWithItsServiceAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	account := func(name string) map[string]any {
		return roleWith(map[string]any{"name": name, "namespace": "shop-pr-42", "cluster": testCluster, "via": "pod_identity"}, nil)
	}
	w.must(t, w.step(sdk.Deploy, account("web")))
	w.must(t, w.step(sdk.Deploy, account("worker")))
	if got := w.owned(); strings.Contains(got, "/web ") || !strings.Contains(got, "prod/shop-pr-42/worker ") {
		t.Errorf("owned are %s", got)
	}
	w.must(t, w.step(sdk.Cleanup, nil))
	if got := w.owned(); got != "" {
		t.Errorf("left are %s", got)
	}
	// One that a stranger made is not taken.
	_, err := eks.NewFromConfig(w.Config(testRegion)).CreatePodIdentityAssociation(t.Context(), &eks.CreatePodIdentityAssociationInput{
		ClusterName: awssdk.String(testCluster), Namespace: awssdk.String("shop-pr-42"), ServiceAccount: awssdk.String("web"), RoleArn: awssdk.String("arn:aws:iam::111122223333:role/x"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(t, w.step(sdk.Deploy, account("web"))); err == nil || !strings.Contains(err.Error(), "Berth did not make it") {
		t.Errorf("over a stranger's association: %v", err)
	}
	w.must(t, w.step(sdk.Cleanup, account("web")))
	if n := len(w.ARNs("eks", "podidentityassociation")); n != 1 {
		t.Errorf("%d associations are left", n)
	}
}

func TestRolesThatTrustTooMuchAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		with map[string]any
		want string
	}{
		"every service account":       {roleWith(map[string]any{"name": "*", "namespace": "a", "cluster": "prod"}, nil), "service account"},
		"every namespace":             {roleWith(map[string]any{"name": "web", "namespace": "a:*", "cluster": "prod"}, nil), "service account"},
		"a cluster that is not there": {roleWith(map[string]any{"name": "web", "namespace": "a", "cluster": "other"}, nil), "no EKS cluster"},
		"neither cluster nor issuer":  {roleWith(map[string]any{"name": "web", "namespace": "a"}, nil), "cluster"},
		"a provider that is none":     {roleWith(map[string]any{"name": "web", "namespace": "a", "oidc_provider": "arn:aws:iam::1:user/x"}, nil), "OIDC"},
		"a policy that IAM refuses":   {roleWith(webAccount, map[string]any{"policies": map[string]any{"p": `{"Statement":[{"Effect":"Maybe"}]}`}}), "cannot read a policy"},
		"a policy that is no JSON":    {roleWith(webAccount, map[string]any{"policies": map[string]any{"p": `{`}}), "JSON"},
		"a managed policy of no one":  {roleWith(webAccount, map[string]any{"managed": []any{"arn:aws:iam::111122223333:policy/none"}}), "no policy"},
		"access to what is not asked": {roleWith(webAccount, map[string]any{"access": map[string]any{"s3": "read"}}), "beside it"},
		"access of another sort":      {roleWith(webAccount, map[string]any{"access": map[string]any{"s3": "own"}}), "read or write"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			if _, err := w.run(t, w.step(sdk.Deploy, tt.with)); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "invalid") {
				t.Errorf("got %v", err)
			}
			w.must(t, w.step(sdk.Cleanup, tt.with))
			if got := w.owned(); got != "" {
				t.Errorf("left are %s", got)
			}
		})
	}
}
