package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Observe looks at what a deploy made. An error means that it could not look,
// which is something else than Absent.
func (x executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	s, err := x.open(ctx, step)
	if err != nil {
		return sdk.Observation{}, err
	}
	defer s.close()
	now, err := s.look(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	switch {
	case now.owner != s.owner:
		return sdk.Observation{Health: sdk.Absent}, nil
	case now.user == nil:
		return sdk.Observation{Health: sdk.Unhealthy, Text: "the Redis user " + s.name + " is gone; deploy makes it again"}, nil
	}
	o := sdk.Observation{Health: sdk.Healthy}
	if now.user.digest != now.digest {
		o.Drift = []string{"the rules of the Redis user " + s.name + " were changed by hand"}
	}
	clients, err := s.db.ClientList(ctx).Result()
	if err != nil {
		return sdk.Observation{}, away("The connections cannot be listed", err)
	}
	o.Facts = []sdk.Fact{{Name: "connections", Text: strconv.Itoa(strings.Count(clients, " user="+s.name+" "))}}
	return o, nil
}
