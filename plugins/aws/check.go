package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Check looks whether every account and region that settings name lets Berth in
// and lets it find what it made. What it may change is seen only when it does so.
func (x *Executor) Check(ctx context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	p, err := readPlatform(scope.Settings)
	if err != nil {
		return nil, err
	}
	places := p.places()
	if len(places) == 0 {
		return []sdk.Finding{{
			Name: "AWS", Detail: "the settings name no region", Fix: "Set `region` under `settings` of the aws executor.",
		}}, nil
	}
	var out []sdk.Finding
	for i, where := range places {
		s, err := x.session(ctx, sdk.Step{Installation: scope.Installation}, p, asked{}, where)
		if err != nil {
			return nil, err
		}
		name := "AWS " + where.String()
		who, err := sts.NewFromConfig(s.cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			out = append(out, failed(name, err, ""))
			continue
		}
		kinds := p.enabled()
		if _, err := x.listAll(ctx, s, kinds, i == 0 || places[i-1].account != where.account); err != nil {
			out = append(out, failed(name, err, policy(kinds)))
			continue
		}
		out = append(out, sdk.Finding{Name: name, OK: true, Detail: fmt.Sprintf("it acts as %s, and can list %s", awssdk.ToString(who.Arn), listed(kindNames(kinds)))})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, nil
}

// failed is a finding about an error. The first sentence of its message says
// what is wrong, and the rest what to do.
func failed(name string, err error, paste string) sdk.Finding {
	f := sdk.Finding{Name: name, Paste: paste}
	f.Detail = err.Error()
	if e, ok := errors.AsType[*sdk.Error](explain(err, "")); ok {
		f.Detail = e.Msg
	}
	if what, todo, ok := strings.Cut(f.Detail, ". "); ok {
		f.Detail, f.Fix = what, todo
	}
	if f.Fix == "" {
		f.Fix = "Try again; the executor's log says more."
	}
	return f
}
