package bot

import (
	"context"
	"slices"

	"github.com/berth-dev/berth/actions"
)

// RoleAdmin is the role that whoever imports environments of another tool needs.
const RoleAdmin = "admin"

// Import makes the record of an environment that another tool has made, for
// whoever has RoleAdmin. The errors are those of actions.Store.Import, and
// CodeForbidden.
func (s *Service) Import(ctx context.Context, in Input, i actions.Imported) (*actions.Environment, error) {
	const op = "bot.import"
	if !slices.Contains(in.Actor.Roles, RoleAdmin) {
		return nil, actions.Errorf(op, actions.CodeForbidden, "Environments are imported by those who have the role %s. Whoever keeps Berth's config can give it to the token.", RoleAdmin)
	}
	app, err := s.catalog.App(i.Name.App)
	if err != nil {
		return nil, err
	}
	return s.store.Import(ctx, app, i, s.record(in, "environment.imported", Command{}))
}
