package aws

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// mostSecretName is the longest name of a secret, in characters.
	// Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
	mostSecretName = 512
	// mostSecretValue is the longest value of one, in bytes. Source: as above.
	mostSecretValue = 65536
	// passwordLetters are what generated passwords are made of: nothing that a
	// shell, a URL or a database's connection string takes for more than itself.
	passwordLetters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
	passwordLength  = 32
)

// secretKind is a secret of Secrets Manager: a JSON object with keys that are
// generated once, looked up where settings refer to, or plain.
func secretKind() kind {
	return kind{
		name: "secret", title: "secret",
		schema: object("A secret of Secrets Manager: a JSON object of texts.", map[string]any{
			"name":        map[string]any{"type": "string", "pattern": `^[A-Za-z0-9/_+=.@-]{1,512}$`, "description": "Its name; berth-APP-ENVIRONMENT-PART when left out."},
			"description": text("What it is for."),
			"kms_key":     text("The KMS key that encrypts it; AWS's own when left out."),
			"generate": texts("Keys with a password that is made once and kept.",
				map[string]any{"type": "integer", "minimum": 12, "maximum": 128, "description": "How many characters it has."}),
			"secrets": texts("Keys with values that are looked up.", sdk.SecretSchema()),
			"values":  texts("Keys with values that anybody may see, such as a user's name.", map[string]any{"type": "string"}),
		}),
		open: openSecret, list: listSecrets,
	}
}

// secret is the thing that the kind opens.
type secret struct {
	s *session
	secretSettings
	refs map[string]sdk.SecretRef // by key
}

type secretSettings struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	KMSKey      string            `json:"kms_key"`
	Generate    map[string]int    `json:"generate"`
	Secrets     map[string]any    `json:"secrets"`
	Values      map[string]string `json:"values"`
}

func openSecret(s *session, in input) (thing, error) {
	t := &secret{s: s, refs: map[string]sdk.SecretRef{}}
	if err := strict(in.settings, &t.secretSettings, "`secret` of an aws part"); err != nil {
		return nil, err
	}
	if t.Name == "" {
		t.Name = s.name(mostSecretName)
	}
	if in.name != "" {
		t.Name = in.name
	}
	seen := map[string]bool{}
	for _, keys := range [][]string{slices.Sorted(maps.Keys(t.Generate)), slices.Sorted(maps.Keys(t.Secrets)), slices.Sorted(maps.Keys(t.Values))} {
		for _, key := range keys {
			if key == "" || seen[key] {
				return nil, sdk.Invalid("The key %q of `secret` is there twice: it is generated, looked up or plain.", clip(key, 60))
			}
			seen[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.Secrets)) {
		ref, err := sdk.SecretOf(t.Secrets[key], "the key "+key+" of `secret`")
		if err != nil {
			return nil, err
		}
		t.refs[key] = ref
	}
	if len(seen) == 0 {
		t.Generate = map[string]int{"password": passwordLength}
	}
	return t, nil
}

func (s *session) secretsManager() *secretsmanager.Client {
	return clientOf(s, "secretsmanager", func(c awssdk.Config) *secretsmanager.Client { return secretsmanager.NewFromConfig(c) })
}

func (t *secret) title() string { return fmt.Sprintf("secret %q", t.Name) }

// look is the secret as AWS has it, nil when there is none.
func (t *secret) look(ctx context.Context) (*secretsmanager.DescribeSecretOutput, map[string]string, error) {
	out, err := t.s.secretsManager().DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &t.Name})
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); none {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return out, secretTags(out.Tags), nil
}

func secretTags(tags []types.Tag) map[string]string {
	return tagMap(tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value })
}

func (t *secret) asTags() []types.Tag {
	return tagList(t.s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func (t *secret) keys() []string {
	var out []string
	for key := range t.Generate {
		out = append(out, key)
	}
	for key := range t.refs {
		out = append(out, key)
	}
	for key := range t.Values {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

func (t *secret) tagged(tags map[string]string) bool {
	for key, value := range t.s.tags() {
		if tags[key] != value {
			return false
		}
	}
	return true
}

// described tells whether the description or key has to change.
func (t *secret) described(there *secretsmanager.DescribeSecretOutput) bool {
	return t.Description != "" && awssdk.ToString(there.Description) != t.Description ||
		t.KMSKey != "" && awssdk.ToString(there.KmsKeyId) != t.KMSKey
}

// read is what the secret holds. Nothing of it is ever told.
func (t *secret) read(ctx context.Context) (map[string]string, error) {
	out, err := t.s.secretsManager().GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &t.Name})
	if _, none := errors.AsType[*types.ResourceNotFoundException](err); none {
		return nil, nil // it was made without a value
	}
	if err != nil {
		return nil, err
	}
	old := map[string]string{}
	if json.Unmarshal([]byte(awssdk.ToString(out.SecretString)), &old) != nil {
		return nil, sdk.Invalid("The %s holds something else than a JSON object of texts: somebody has changed it. Put it right, or delete it.", t.title())
	}
	return old, nil
}

func (t *secret) deploy(ctx context.Context) (progress, error) {
	there, tags, err := t.look(ctx)
	switch {
	case err != nil:
		return progress{}, err
	case there == nil:
		return t.create(ctx)
	}
	if err := t.s.refuse(t.title(), tags); err != nil {
		return progress{}, err
	}
	api := t.s.secretsManager()
	if there.DeletedDate != nil {
		if _, err := api.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: &t.Name}); err != nil {
			return progress{}, err
		}
	}
	old, err := t.read(ctx)
	if err != nil {
		return progress{}, err
	}
	value, changed, err := t.want(ctx, old)
	if err != nil {
		return progress{}, err
	}
	if changed {
		// The SDK makes a token for each call and keeps it for that call's retries. One
		// of our own would be the version's ID, which must not tell of the value.
		if _, err := api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &t.Name, SecretString: &value}); err != nil {
			return progress{}, err
		}
	}
	if t.described(there) {
		in := &secretsmanager.UpdateSecretInput{SecretId: &t.Name}
		if t.Description != "" {
			in.Description = &t.Description
		}
		if t.KMSKey != "" {
			in.KmsKeyId = &t.KMSKey
		}
		if _, err := api.UpdateSecret(ctx, in); err != nil {
			return progress{}, err
		}
	}
	if !t.tagged(tags) {
		if _, err := api.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: &t.Name, Tags: t.asTags()}); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// create makes the secret. One that was deleted a moment ago keeps its name
// taken for a while, which is waited for.
func (t *secret) create(ctx context.Context) (progress, error) {
	value, _, err := t.want(ctx, nil)
	if err != nil {
		return progress{}, err
	}
	token := t.s.owner.token("secret", t.Name)
	in := &secretsmanager.CreateSecretInput{Name: &t.Name, SecretString: &value, ClientRequestToken: &token, Tags: t.asTags()}
	if t.Description != "" {
		in.Description = &t.Description
	}
	if t.KMSKey != "" {
		in.KmsKeyId = &t.KMSKey
	}
	_, err = t.s.secretsManager().CreateSecret(ctx, in)
	if _, there := errors.AsType[*types.ResourceExistsException](err); there {
		return waiting("%s is there already and is looked at again", t.title())
	}
	if _, deleting := errors.AsType[*types.InvalidRequestException](err); deleting && strings.Contains(err.Error(), "scheduled for deletion") {
		return waiting("the earlier %s is being deleted", t.title())
	}
	if err != nil {
		return progress{}, err
	}
	return finished()
}

// want is what the secret is to hold, with what was generated before, and
// whether that is something else than old. What others have put there stays.
func (t *secret) want(ctx context.Context, old map[string]string) (value string, changed bool, err error) {
	next := maps.Clone(old)
	if next == nil {
		next = map[string]string{}
	}
	maps.Copy(next, t.Values)
	for _, key := range slices.Sorted(maps.Keys(t.refs)) {
		if next[key], err = t.s.value(ctx, t.refs[key]); err != nil {
			return "", false, err
		}
	}
	for key, length := range t.Generate {
		if next[key] == "" {
			if next[key], err = password(length); err != nil {
				return "", false, err
			}
		}
	}
	data, err := json.Marshal(next)
	if err != nil {
		return "", false, sdk.Internal("The secret cannot be written down: %w", err)
	}
	if len(data) > mostSecretValue {
		return "", false, sdk.Invalid("The %s would be longer than %d KiB, the most that AWS keeps.", t.title(), mostSecretValue>>10)
	}
	return string(data), !maps.Equal(old, next), nil
}

// password is one of that many characters, each of which is as likely.
func password(length int) (string, error) {
	out := make([]byte, length)
	for i := range out {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(passwordLetters))))
		if err != nil {
			return "", sdk.Internal("No password can be made: %w", err)
		}
		out[i] = passwordLetters[n.Int64()]
	}
	return string(out), nil
}

// remove deletes the secret for good, or, where something is to be retained,
// leaves it to AWS for as long as AWS can keep a deleted one: 7 to 30 days.
func (t *secret) remove(ctx context.Context) (progress, error) {
	there, tags, err := t.look(ctx)
	if err != nil {
		return progress{}, err
	}
	if there == nil || !t.s.mine(tags) || there.DeletedDate != nil && !t.s.retain.none() {
		return finished()
	}
	in := &secretsmanager.DeleteSecretInput{SecretId: &t.Name}
	if t.s.retain.none() {
		in.ForceDeleteWithoutRecovery = awssdk.Bool(true)
	} else {
		const least, most, day = 7, 30, 24 * time.Hour
		days := int64(most)
		if !t.s.retain.forever {
			days = min(max(int64((t.s.retain.keep+day-1)/day), least), most)
		}
		in.RecoveryWindowInDays = &days
	}
	if _, err := t.s.secretsManager().DeleteSecret(ctx, in); err != nil {
		if _, none := errors.AsType[*types.ResourceNotFoundException](err); !none {
			return progress{}, err
		}
	}
	return finished()
}

func (t *secret) outputs(ctx context.Context) (map[string]string, error) {
	there, _, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, sdk.Downstream("The %s went away while it was worked on. Try again.", t.title()).WithRetry()
	}
	arn := awssdk.ToString(there.ARN)
	return map[string]string{"arn": arn, "secret": arn, "name": t.Name}, nil
}

func (t *secret) observe(ctx context.Context) (report, error) {
	there, tags, err := t.look(ctx)
	switch {
	case err != nil:
		return report{}, err
	case there == nil, there.DeletedDate != nil && t.s.mine(tags):
		return report{health: sdk.Absent}, nil
	case !t.s.mine(tags):
		return report{health: sdk.Unhealthy, text: "The " + t.title() + " is not Berth's: its tags are gone or another's."}, nil
	}
	var r report
	if t.described(there) || !t.tagged(tags) {
		r.drift = append(r.drift, "The "+t.title()+" has other tags, or another description or key, than it was deployed with.")
	}
	return r, nil
}

// listSecrets finds secrets by their tags. Those that are being deleted are gone.
func listSecrets(ctx context.Context, s *session) ([]found, error) {
	in := &secretsmanager.ListSecretsInput{Filters: []types.Filter{{Key: types.FilterNameStringTypeTagKey, Values: []string{tagApp}}}}
	var out []found
	pages := secretsmanager.NewListSecretsPaginator(s.secretsManager(), in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.SecretList {
			tags := secretTags(one.Tags)
			if one.DeletedDate == nil && s.ours(tags) {
				out = append(out, found{name: awssdk.ToString(one.Name), owner: tagsOwner(tags), createdAt: awssdk.ToTime(one.CreatedDate)})
			}
		}
	}
	return out, nil
}
