package main

import (
	"context"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Inventory lists what an installation of Berth owns on the server, by the marks.
// Berth cleans up what it finds here and knows nothing of.
func (x executor) Inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	db, _, err := x.connect(ctx, scope.Settings)
	if err != nil {
		return nil, err
	}
	s := &share{db: db}
	defer s.close()
	found := map[string]bool{} // SCAN may tell a key twice
	if err := s.keys(ctx, marks, func(keys []string) error {
		for _, key := range keys {
			found[key] = true
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var all []sdk.Owned
	for key := range found {
		fields, err := db.HGetAll(ctx, key).Result()
		if err != nil {
			return nil, away("A mark cannot be read", err) // a part of the list is no list
		}
		owner := strings.Split(fields["owner"], " ")
		if len(owner) != 4 || owner[0] != scope.Installation {
			continue // gone meanwhile, or another's
		}
		o := sdk.Owned{App: owner[1], Env: owner[2], Part: owner[3], Kind: "Redis user", Name: strings.TrimPrefix(key, marks)}
		o.CreatedAt, _ = time.Parse(time.RFC3339, fields["created"])
		all = append(all, o)
	}
	return all, nil
}
