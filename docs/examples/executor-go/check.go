package main

import (
	"context"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Check is what `berth doctor` asks: does the server answer, and may we do on it
// what we have to?
func (x executor) Check(ctx context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	db, address, err := x.connect(ctx, scope.Settings)
	if err != nil {
		return nil, err
	}
	defer (&share{db: db}).close()
	server := sdk.Finding{Name: "Redis server " + address, OK: true, Detail: "it answers"}
	if err := db.Ping(ctx).Err(); err != nil {
		server.OK, server.Detail = false, "it does not answer, or refuses the administrator's name and password"
		server.Fix = "start it, or correct plugins.redis.settings"
		return []sdk.Finding{server}, nil
	}
	rights := sdk.Finding{Name: "rights on " + address, OK: true, Detail: "users can be made, and are kept over a restart"}
	file, err := db.ConfigGet(ctx, "aclfile").Result()
	switch {
	case db.ACLList(ctx).Err() != nil || err != nil:
		rights.OK, rights.Detail = false, "the administrator may not manage users"
		rights.Fix = "give the user of plugins.redis.settings these rights, with redis-cli"
		rights.Paste = "ACL SETUSER berth on ~* &* +@all\nACL SAVE\n"
	case file["aclfile"] == "":
		rights.OK, rights.Detail = false, "Redis forgets its users when it is restarted"
		rights.Fix = "give Redis a file for them"
		rights.Paste = "aclfile /var/lib/redis/users.acl\n"
	}
	return []sdk.Finding{server, rights}, nil
}
