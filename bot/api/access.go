package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/bot"
)

// accessOperations registers what tells who can do what.
func (a *API) accessOperations(h huma.API) {
	op := operation("get-access", http.MethodGet, "/api/v1/access", "Who can do what: people with their accounts, roles and rules, and what everybody else may", http.StatusForbidden)
	op.Description = "Not for those who may only look. Groups that Berth asks somebody else about (a team of GitHub, a group of Slack, a role of Discord) are asked now; what could not be seen is named."
	huma.Register(h, op, func(ctx context.Context, _ *struct{}) (*body[bot.Access], error) {
		found, err := a.service.Access(ctx, from(ctx).actor)
		if err != nil {
			return nil, a.fail(ctx, err)
		}
		return &body[bot.Access]{*found}, nil
	})
}
