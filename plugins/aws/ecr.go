package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// mostRepositoryName is the longest name of a repository, in characters.
// Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
const mostRepositoryName = 256

// ecrKind is a repository for container images.
func ecrKind() kind {
	return kind{
		name: "ecr", title: "ECR repository",
		schema: object("A repository of ECR for container images.", map[string]any{
			"immutable":    flag("Whether a tag, once pushed, stays what it is."),
			"scan_on_push": flag("Whether images are scanned when they are pushed."),
			"keep_images":  number("How many images are kept, the newest; all when left out.", 1, 10000),
			"kms_key":      text("The KMS key that encrypts images; ECR's own when left out. It cannot be changed later."),
		}),
		open: openRepository, list: listRepositories,
	}
}

// repository is the thing that the kind opens.
type repository struct {
	s    *session
	name string
	repositorySettings
}

type repositorySettings struct {
	Immutable  bool   `json:"immutable"`
	ScanOnPush bool   `json:"scan_on_push"`
	KeepImages int    `json:"keep_images"`
	KMSKey     string `json:"kms_key"`
}

func openRepository(s *session, in input) (thing, error) {
	t := &repository{s: s, name: s.name(mostRepositoryName)}
	if err := strict(in.settings, &t.repositorySettings, "`ecr` of an aws part"); err != nil {
		return nil, err
	}
	if in.name != "" {
		t.name = in.name
	}
	return t, nil
}

func (s *session) ecr() *ecr.Client {
	return clientOf(s, "ecr", func(c awssdk.Config) *ecr.Client { return ecr.NewFromConfig(c) })
}

func (t *repository) title() string { return fmt.Sprintf("ECR repository %q", t.name) }

func noRepository(err error) bool { return isCode(err, "RepositoryNotFoundException") }

func (s *session) repositoryTags(ctx context.Context, arn *string) (map[string]string, error) {
	out, err := s.ecr().ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: arn})
	if err != nil {
		return nil, err
	}
	return tagMap(out.Tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value }), nil
}

// look compares the repository with what settings say.
func (t *repository) look(ctx context.Context) (*types.Repository, standing, []change, error) {
	out, err := t.s.ecr().DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{t.name}})
	if noRepository(err) || err == nil && len(out.Repositories) == 0 {
		return nil, standing{}, nil, nil
	}
	if err != nil {
		return nil, standing{}, nil, err
	}
	repo := &out.Repositories[0]
	tags, err := t.s.repositoryTags(ctx, repo.RepositoryArn)
	if noRepository(err) {
		return nil, standing{}, nil, nil
	}
	at := standing{there: true, tags: tags}
	if err != nil || !t.s.mine(tags) {
		return repo, at, nil, err
	}
	changes, err := t.changes(ctx, repo, tags)
	for _, c := range changes {
		at.changes = append(at.changes, c.text)
	}
	return repo, at, changes, err
}

// mutability and scanning are what settings ask for, in ECR's words.
func (t *repository) mutability() types.ImageTagMutability {
	if t.Immutable {
		return types.ImageTagMutabilityImmutable
	}
	return types.ImageTagMutabilityMutable
}

func (t *repository) scanning() *types.ImageScanningConfiguration {
	return &types.ImageScanningConfiguration{ScanOnPush: t.ScanOnPush}
}

func (t *repository) changes(ctx context.Context, repo *types.Repository, tags map[string]string) ([]change, error) {
	api := t.s.ecr()
	var out []change
	if repo.ImageTagMutability != t.mutability() {
		out = append(out, change{"makes its tags " + string(t.mutability()), func(ctx context.Context) error {
			_, err := api.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: &t.name, ImageTagMutability: t.mutability()})
			return err
		}})
	}
	if scans := repo.ImageScanningConfiguration != nil && repo.ImageScanningConfiguration.ScanOnPush; scans != t.ScanOnPush {
		out = append(out, change{"sets scan_on_push", func(ctx context.Context) error {
			_, err := api.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{RepositoryName: &t.name, ImageScanningConfiguration: t.scanning()})
			return err
		}})
	}
	kept, err := t.kept(ctx)
	if err != nil {
		return nil, err
	}
	if kept != nil {
		out = append(out, *kept)
	}
	if !t.s.tagged(tags) {
		out = append(out, change{"sets other tags", func(ctx context.Context) error {
			_, err := api.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: repo.RepositoryArn, Tags: t.asTags()})
			return err
		}})
	}
	return out, nil
}

// kept is the change of how many images are kept. Without a number the policy
// that is there, whoever wrote it, stays.
func (t *repository) kept(ctx context.Context) (*change, error) {
	if t.KeepImages == 0 {
		return nil, nil
	}
	policy, err := json.Marshal(map[string]any{"rules": []any{map[string]any{
		"rulePriority": 1, "description": "Berth keeps the newest", "action": map[string]any{"type": "expire"},
		"selection": map[string]any{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": t.KeepImages},
	}}})
	if err != nil {
		return nil, sdk.Internal("The policy of the %s cannot be written down: %w", t.title(), err)
	}
	have, err := t.s.ecr().GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &t.name})
	if err != nil && !isCode(err, "LifecyclePolicyNotFoundException") {
		return nil, err
	}
	if err == nil && sameJSON(awssdk.ToString(have.LifecyclePolicyText), string(policy)) {
		return nil, nil
	}
	return &change{fmt.Sprintf("keeps the newest %d images", t.KeepImages), func(ctx context.Context) error {
		_, err := t.s.ecr().PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &t.name, LifecyclePolicyText: awssdk.String(string(policy))})
		return err
	}}, nil
}

func (t *repository) asTags() []types.Tag {
	return tagList(t.s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func (t *repository) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	_, at, _, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Cleanup && at.there && t.s.mine(at.tags) {
		images, err := t.s.ecr().ListImages(ctx, &ecr.ListImagesInput{RepositoryName: &t.name, MaxResults: awssdk.Int32(1)})
		if err != nil {
			return proposal{}, err
		}
		at.data = len(images.ImageIds) > 0
	}
	return t.s.propose(verb, "ECR repository", t.name, "", at)
}

func (t *repository) deploy(ctx context.Context) (progress, error) {
	_, at, changes, err := t.look(ctx)
	if err != nil {
		return progress{}, err
	}
	if !at.there {
		in := &ecr.CreateRepositoryInput{RepositoryName: &t.name, Tags: t.asTags(), ImageTagMutability: t.mutability(), ImageScanningConfiguration: t.scanning()}
		if t.KMSKey != "" {
			in.EncryptionConfiguration = &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms, KmsKey: &t.KMSKey}
		}
		if _, err := t.s.ecr().CreateRepository(ctx, in); err != nil && !isCode(err, "RepositoryAlreadyExistsException") {
			return progress{}, err
		}
		return waiting("%s is set up", t.title())
	}
	if err := t.s.refuse(t.title(), at.tags); err != nil {
		return progress{}, err
	}
	for _, c := range changes {
		if err := c.do(ctx); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// remove deletes the repository with its images.
func (t *repository) remove(ctx context.Context) (progress, error) {
	out, err := t.s.ecr().DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{t.name}})
	if noRepository(err) || err == nil && len(out.Repositories) == 0 {
		return finished()
	}
	if err != nil {
		return progress{}, err
	}
	tags, err := t.s.repositoryTags(ctx, out.Repositories[0].RepositoryArn)
	if noRepository(err) || err == nil && !t.s.mine(tags) {
		return finished()
	}
	if err != nil {
		return progress{}, err
	}
	if _, err := t.s.ecr().DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &t.name, Force: true}); err != nil && !noRepository(err) {
		return progress{}, err
	}
	return finished()
}

func (t *repository) outputs(ctx context.Context) (map[string]string, error) {
	repo, _, _, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	if repo == nil {
		return nil, vanished(t.title())
	}
	return map[string]string{"name": t.name, "arn": awssdk.ToString(repo.RepositoryArn), "uri": awssdk.ToString(repo.RepositoryUri)}, nil
}

func (t *repository) observe(ctx context.Context) (report, error) {
	_, at, _, err := t.look(ctx)
	if err != nil {
		return report{}, err
	}
	return t.s.reportOf(t.title(), at), nil
}

// listRepositories finds repositories by name, and asks each for its tags.
func listRepositories(ctx context.Context, s *session) ([]found, error) {
	var out []found
	pages := ecr.NewDescribeRepositoriesPaginator(s.ecr(), &ecr.DescribeRepositoriesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Repositories {
			name := awssdk.ToString(one.RepositoryName)
			if s.owner.app != "" && name != s.name(mostRepositoryName) || !strings.HasPrefix(name, namePrefix) {
				continue // names are not given, so this is surely another's
			}
			tags, err := s.repositoryTags(ctx, one.RepositoryArn)
			if noRepository(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if s.ours(tags) {
				out = append(out, found{name: name, owner: tagsOwner(tags), createdAt: awssdk.ToTime(one.CreatedAt)})
			}
		}
	}
	return out, nil
}
