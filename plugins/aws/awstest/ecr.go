package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

var registryOps = map[string]func(*call) (params, *apiError){
	"CreateRepository": createRepository, "DeleteRepository": deleteRepository, "DescribeRepositories": describeRepositories,
	"ListTagsForResource": repositoryTags, "TagResource": tagRepository, "UntagResource": untagRepository,
	"PutLifecyclePolicy": putLifecycle, "GetLifecyclePolicy": getLifecycle, "DeleteLifecyclePolicy": deleteLifecycle,
	"PutImage": putImage, "ListImages": listImages, "PutImageScanningConfiguration": putRepository, "PutImageTagMutability": putRepository,
}

func createRepository(c *call) (params, *apiError) {
	name := c.in.str("repositoryName")
	if c.find("repository", name) != nil {
		return nil, fail("RepositoryAlreadyExistsException", "The repository with name '%s' already exists in the registry with id '%s'", name, c.account)
	}
	arn := c.arn("repository/" + name)
	th := c.new("repository", name, arn, tagsOf(c.in, "tags"), c.in.take("imageScanningConfiguration", "encryptionConfiguration").with(params{
		"repositoryArn": arn, "registryId": c.account, "repositoryName": name, "createdAt": c.s.now(),
		"repositoryUri":      fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com/%s", c.account, c.region, name),
		"imageTagMutability": c.in.or("imageTagMutability", "MUTABLE"),
	}))
	return params{"repository": th.body}, nil
}

func (c *call) repository() (*thing, *apiError) {
	if th := c.find("repository", c.in.str("repositoryName")); th != nil {
		return th, nil
	}
	for _, th := range c.all("repository") {
		if arn := c.in.str("resourceArn"); arn != "" && th.arn == arn {
			return th, nil
		}
	}
	return nil, fail("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'", c.in.str("repositoryName"), c.account)
}

func deleteRepository(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	if len(th.hidden.list("images")) > 0 && !c.in.flag("force") {
		return nil, fail("RepositoryNotEmptyException", "The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", th.id, c.account)
	}
	c.s.drop(th)
	return params{"repository": th.body}, nil
}

func describeRepositories(c *call) (params, *apiError) {
	all := c.all("repository")
	if names := c.in.strs("repositoryNames"); len(names) > 0 {
		all = nil
		for _, n := range names {
			th := c.find("repository", n)
			if th == nil {
				return nil, fail("RepositoryNotFoundException", "The repository with name '%s' does not exist in the registry with id '%s'", n, c.account)
			}
			all = append(all, th)
		}
	}
	got, next := page(all, c.in.str("nextToken"), int(c.in.num("maxResults")), c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, th.body)
	}
	out := params{"repositories": list}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

func repositoryTags(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	return params{"tags": tagList(th.tags)}, nil
}

func tagRepository(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	return params{}, setTags(th, tagsOf(c.in, "tags"), "InvalidTagParameterException")
}

func untagRepository(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("tagKeys") {
		delete(th.tags, k)
	}
	return params{}, nil
}

func putRepository(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	set := c.in.take("imageScanningConfiguration", "imageTagMutability")
	for k, v := range set {
		th.body[k] = v
	}
	return set.with(params{"registryId": c.account, "repositoryName": th.id}), nil
}

func putLifecycle(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	text := c.in.str("lifecyclePolicyText")
	var policy struct {
		Rules []struct {
			RulePriority int            `json:"rulePriority"`
			Selection    map[string]any `json:"selection"`
			Action       map[string]any `json:"action"`
		} `json:"rules"`
	}
	if json.Unmarshal([]byte(text), &policy) != nil || len(policy.Rules) == 0 {
		return nil, fail("InvalidParameterException", "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure'")
	}
	seen := map[int]bool{}
	for _, r := range policy.Rules {
		if r.RulePriority < 1 || seen[r.RulePriority] || r.Action["type"] != "expire" || r.Selection["tagStatus"] == nil {
			return nil, fail("InvalidParameterException", "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure'")
		}
		seen[r.RulePriority] = true
	}
	th.hidden["lifecycle"] = text
	return params{"registryId": c.account, "repositoryName": th.id, "lifecyclePolicyText": text}, nil
}

func getLifecycle(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	if th.hidden.str("lifecycle") == "" {
		return nil, fail("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist for the repository with name '%s'", th.id)
	}
	return params{"registryId": c.account, "repositoryName": th.id, "lifecyclePolicyText": th.hidden.str("lifecycle")}, nil
}

func deleteLifecycle(c *call) (params, *apiError) {
	out, err := getLifecycle(c)
	if err == nil {
		delete(c.find("repository", c.in.str("repositoryName")).hidden, "lifecycle")
	}
	return out, err
}

func putImage(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(c.in.str("imageManifest")))
	id := params{"imageDigest": "sha256:" + hex.EncodeToString(sum[:])}
	if tag := c.in.str("imageTag"); tag != "" {
		id["imageTag"] = tag
		taken := slices.ContainsFunc(th.hidden.subs("images"), func(p params) bool { return p.str("imageTag") == tag })
		if taken && th.body.str("imageTagMutability") == "IMMUTABLE" {
			return nil, fail("ImageTagAlreadyExistsException", "The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the repository is immutable.", tag, th.id)
		}
	}
	th.hidden["images"] = append(th.hidden.list("images"), id)
	return params{"image": params{"registryId": c.account, "repositoryName": th.id, "imageId": id}}, nil
}

func listImages(c *call) (params, *apiError) {
	th, err := c.repository()
	if err != nil {
		return nil, err
	}
	return params{"imageIds": append([]any{}, th.hidden.list("images")...)}, nil
}
