package awstest

import (
	"slices"
	"strings"
)

var taggingOps = map[string]func(*call) (params, *apiError){
	"GetResources": getResources,
}

// untaggable are kinds that the Resource Groups Tagging API does not list.
// Source: https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html
var untaggable = []string{"iam:role", "route53:hostedzone"}

func getResources(c *call) (params, *apiError) {
	types := c.in.strs("ResourceTypeFilters")
	all := c.s.pick(func(th *thing) bool {
		return th.account == c.account && th.region == c.region && len(th.tags) > 0 && th.arn != "" && !th.body.has("DeletedDate") &&
			!slices.Contains(untaggable, th.service+":"+th.kind) && ofTypes(th, types) && hasTags(th, c.in.subs("TagFilters"))
	})
	slices.SortFunc(all, func(a, b *thing) int { return strings.Compare(a.arn, b.arn) })
	limit := int(c.in.num("ResourcesPerPage"))
	if limit == 0 {
		limit = 50
	}
	limit = min(limit, c.s.opts.Page)
	after, list, next := c.in.str("PaginationToken"), []any{}, ""
	for _, th := range all {
		if after != "" && th.arn <= after {
			continue
		}
		if len(list) == limit {
			next = list[len(list)-1].(params).str("ResourceARN") //nolint:forcetypeassert // made below
			break
		}
		list = append(list, params{"ResourceARN": th.arn, "Tags": tagList(th.tags)})
	}
	return params{"ResourceTagMappingList": list, "PaginationToken": next}, nil
}

func ofTypes(th *thing, types []string) bool {
	return len(types) == 0 || slices.Contains(types, th.service) || slices.Contains(types, th.service+":"+th.kind)
}

// hasTags tells whether a thing has all the keys, each with one of its values.
func hasTags(th *thing, filters []params) bool {
	for _, f := range filters {
		value, ok := th.tags[f.str("Key")]
		if values := f.strs("Values"); !ok || len(values) > 0 && !slices.Contains(values, value) {
			return false
		}
	}
	return true
}
