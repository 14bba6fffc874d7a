package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// mostRoleName is the longest name of a role, in characters.
	// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
	mostRoleName = 64
	// rolePath is where Berth's roles are: policies can allow Berth that path alone,
	// and its roles are listed without looking at all others.
	rolePath = "/berth/"
	// accessPolicy is the inline policy that `access` comes to.
	accessPolicy = "berth-access"
	// tagPodIdentity is on a role that Pod Identity knows of: the cluster, namespace
	// and service account, so that the association is found when settings say
	// nothing of it any more.
	tagPodIdentity = tagPrefix + "pod-identity"
)

// iamKind is a role that pods of a service account take, by the cluster's OIDC
// provider or by EKS Pod Identity.
func iamKind() kind {
	return kind{
		name: "iam_role", title: "IAM role", global: true, after: []string{"s3", "sqs", "sns", "secret"},
		schema: object("A role that pods of a Kubernetes service account take.", map[string]any{
			"service_account": object("Whose pods take it.", map[string]any{
				"name":          text("The service account."),
				"namespace":     text("Its namespace; the environment's when left out."),
				"cluster":       text("The EKS cluster, by its name in this account and region."),
				"via":           choice("How pods get the role: by the cluster's OIDC provider, for which the service account is annotated with eks.amazonaws.com/role-arn, or by Pod Identity.", "oidc", "pod_identity"),
				"oidc_provider": text("The ARN of the OIDC provider, in place of `cluster`."),
			}, "name"),
			"access": texts("What it may do to what the same part makes.", choice("What it may do.", "read", "write")),
			"policies": texts("Inline policies by name.", map[string]any{
				"type": []any{"object", "string"}, "description": "The policy document, as it is or as JSON.",
			}),
			"managed":              list("ARNs of managed policies.", text("An ARN.")),
			"permissions_boundary": text("The ARN of its permissions boundary; the settings' one wins."),
		}, "service_account"),
		open: openRole, list: listRoles,
	}
}

// role is the thing that the kind opens.
type role struct {
	s    *session
	name string
	roleSettings
	inline map[string]string // documents by name
}

type roleSettings struct {
	Account  serviceAccount    `json:"service_account"`
	Access   map[string]string `json:"access"`
	Policies map[string]any    `json:"policies"`
	Managed  []string          `json:"managed"`
	Boundary string            `json:"permissions_boundary"`
}

type serviceAccount struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Cluster   string `json:"cluster"`
	Via       string `json:"via"`
	Provider  string `json:"oidc_provider"`
}

const (
	viaOIDC        = "oidc"
	viaPodIdentity = "pod_identity"
)

var (
	// policyNamePattern is what an inline policy may be called.
	// Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
	policyNamePattern = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	policyPattern     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(aws|\d{12}):policy/[\w+=,.@/-]{1,512}$`)
	providerPattern   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:oidc-provider/(.+)$`)
	// accountPattern is what Kubernetes' names are. A trust policy is built with
	// them, in which * would mean every account.
	accountPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

func openRole(s *session, in input) (thing, error) {
	t := &role{s: s, name: s.name(mostRoleName), inline: map[string]string{}}
	if err := strict(in.settings, &t.roleSettings, "`iam_role` of an aws part"); err != nil {
		return nil, err
	}
	if in.name != "" {
		t.name = in.name
	}
	if s.boundary != "" {
		t.Boundary = s.boundary
	}
	if in.settings == nil || s.step.Verb == sdk.Cleanup { // which no wrong setting is to hold up
		return t, nil
	}
	if err := t.checkAccount(); err != nil {
		return nil, err
	}
	for _, arn := range append([]string{t.Boundary}, t.Managed...) {
		if arn != "" && !policyPattern.MatchString(arn) {
			return nil, sdk.Invalid("%q of `iam_role` is no policy's ARN; write it as arn:aws:iam::123456789012:policy/shop.", clip(arn, 120))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Policies)) {
		document := t.Policies[name]
		text, ok := document.(string)
		if !ok {
			data, err := json.Marshal(document)
			if err != nil {
				return nil, sdk.Internal("The policy %q cannot be written down: %w", name, err)
			}
			text = string(data)
		}
		if !policyNamePattern.MatchString(name) || name == accessPolicy || !json.Valid([]byte(text)) {
			return nil, sdk.Invalid("The policy %q of `iam_role` is not one: its name has letters, digits and +=,.@_-, and is not %s; its document is JSON.", clip(name, 60), accessPolicy)
		}
		t.inline[name] = text
	}
	return t, t.checkAccess()
}

func (t *role) checkAccount() error {
	a := &t.Account
	if a.Namespace == "" {
		a.Namespace = t.s.step.Namespace
	}
	if a.Via == "" {
		a.Via = viaOIDC
	}
	switch {
	case !accountPattern.MatchString(a.Name), !accountPattern.MatchString(a.Namespace):
		return sdk.Invalid("`service_account` of `iam_role` needs the `name` of a service account, and its `namespace` where the environment has none.")
	case (a.Cluster == "") == (a.Provider == ""), a.Via == viaPodIdentity && a.Cluster == "":
		return sdk.Invalid("`service_account` of `iam_role` needs either the `cluster` or, for `via: oidc`, the `oidc_provider`.")
	case a.Provider != "" && !providerPattern.MatchString(a.Provider):
		return sdk.Invalid("%q of `iam_role` is no OIDC provider's ARN.", clip(a.Provider, 120))
	}
	return nil
}

func (s *session) iam() *iam.Client {
	return clientOf(s, "iam", func(c awssdk.Config) *iam.Client { return iam.NewFromConfig(c) })
}

func (t *role) title() string { return fmt.Sprintf("IAM role %q", t.name) }

func noEntity(err error) bool { return isCode(err, "NoSuchEntity", "NoSuchEntityException") }

func roleTags(tags []types.Tag) map[string]string {
	return tagMap(tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value })
}

// tags are those of the role.
func (t *role) tags() map[string]string {
	out := t.s.tags()
	if t.Account.Via == viaPodIdentity {
		out[tagPodIdentity] = t.Account.path()
	}
	return out
}

// path is the account as tagPodIdentity has it.
func (a serviceAccount) path() string { return a.Cluster + "/" + a.Namespace + "/" + a.Name }

// accountOfPath is the other way round; ok is false for "".
func accountOfPath(path string) (a serviceAccount, ok bool) {
	words := strings.Split(path, "/")
	if len(words) != 3 {
		return a, false
	}
	return serviceAccount{Cluster: words[0], Namespace: words[1], Name: words[2], Via: viaPodIdentity}, true
}

func (t *role) asTags() []types.Tag {
	return tagList(t.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

// get is the role as IAM has it, nil when there is none.
func (t *role) get(ctx context.Context) (*types.Role, error) {
	out, err := t.s.iam().GetRole(ctx, &iam.GetRoleInput{RoleName: &t.name})
	if noEntity(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return out.Role, nil
}

// look compares the role with what settings say.
func (t *role) look(ctx context.Context) (standing, []change, error) {
	there, err := t.get(ctx)
	if err != nil || there == nil {
		return standing{}, nil, err
	}
	at := standing{there: true, tags: roleTags(there.Tags)}
	if !t.s.mine(at.tags) {
		return at, nil, nil
	}
	changes, err := t.changes(ctx, there)
	for _, c := range changes {
		at.changes = append(at.changes, c.text)
	}
	return at, changes, err
}

func (t *role) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	if verb == sdk.Cleanup {
		there, err := t.get(ctx)
		if err != nil || there == nil {
			return proposal{}, err
		}
		return t.s.propose(verb, "IAM role", t.name, "", standing{there: true, tags: roleTags(there.Tags)})
	}
	at, _, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if !at.there { // what it is to trust is asked for before anybody agrees
		if _, err := t.trust(ctx); err != nil {
			return proposal{}, err
		}
	}
	return t.s.propose(verb, "IAM role", t.name, "for service account "+t.Account.Namespace+"/"+t.Account.Name, at)
}

func (t *role) deploy(ctx context.Context) (progress, error) {
	at, changes, err := t.look(ctx)
	if err != nil {
		return progress{}, err
	}
	if !at.there {
		return t.create(ctx)
	}
	if err := t.s.refuse(t.title(), at.tags); err != nil {
		return progress{}, err
	}
	for _, c := range changes {
		if err := c.do(ctx); err != nil {
			return progress{}, t.malformed(err)
		}
	}
	return finished()
}

// create makes the role without any policy: those are what differs then.
func (t *role) create(ctx context.Context) (progress, error) {
	trust, err := t.trust(ctx)
	if err != nil {
		return progress{}, err
	}
	in := &iam.CreateRoleInput{RoleName: &t.name, Path: awssdk.String(rolePath), AssumeRolePolicyDocument: &trust, Tags: t.asTags()}
	if t.Boundary != "" {
		in.PermissionsBoundary = &t.Boundary
	}
	if _, err := t.s.iam().CreateRole(ctx, in); err != nil && !isCode(err, "EntityAlreadyExists", "EntityAlreadyExistsException") {
		return progress{}, t.malformed(err)
	}
	return waiting("%s gets its policies", t.title())
}

// malformed is err, told as the user's when IAM could not read a policy.
func (t *role) malformed(err error) error {
	if isCode(err, "MalformedPolicyDocument", "MalformedPolicyDocumentException") {
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "IAM cannot read a policy of the " + t.title() + ": " + clip(oneLine(saidBy(err)), 300) + ". Correct `policies` of `iam_role`."}
	}
	return err
}

func (t *role) outputs(ctx context.Context) (map[string]string, error) {
	there, err := t.get(ctx)
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, vanished(t.title())
	}
	return map[string]string{"name": t.name, "arn": awssdk.ToString(there.Arn)}, nil
}

func (t *role) observe(ctx context.Context) (report, error) {
	at, _, err := t.look(ctx)
	if err != nil {
		return report{}, err
	}
	return t.s.reportOf(t.title(), at), nil
}

// listRoles finds roles by their path, and asks each for its tags.
func listRoles(ctx context.Context, s *session) ([]found, error) {
	var out []found
	pages := iam.NewListRolesPaginator(s.iam(), &iam.ListRolesInput{PathPrefix: awssdk.String(rolePath)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Roles {
			name := awssdk.ToString(one.RoleName)
			if s.owner.app != "" && name != s.name(mostRoleName) {
				continue // names are not given, so this is surely another's
			}
			tags, err := s.tagsOfRole(ctx, name)
			if err != nil {
				return nil, err
			}
			if s.ours(tags) {
				out = append(out, found{name: name, owner: tagsOwner(tags), createdAt: awssdk.ToTime(one.CreateDate)})
			}
		}
	}
	return out, nil
}

func (s *session) tagsOfRole(ctx context.Context, name string) (map[string]string, error) {
	all := map[string]string{}
	pages := iam.NewListRoleTagsPaginator(s.iam(), &iam.ListRoleTagsInput{RoleName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noEntity(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for k, v := range roleTags(page.Tags) {
			all[k] = v
		}
	}
	return all, nil
}

// document is a policy as IAM tells it, which is URL-encoded.
func document(text *string) string {
	plain, err := url.PathUnescape(awssdk.ToString(text))
	if err != nil {
		return awssdk.ToString(text)
	}
	return plain
}
