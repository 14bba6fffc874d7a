package kubernetes

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// parallel is how many requests a step has under way. The API server shares its
// attention among clients itself; more would only wait there.
const parallel = 24

// crew does work side by side, and ends what is left of it at the first failure.
type crew struct {
	group *errgroup.Group
	ctx   context.Context // what the work gets; it lives as long as wait
}

func newCrew(ctx context.Context) *crew {
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	return &crew{group: group, ctx: side}
}

func (c *crew) do(work func(context.Context) error) {
	c.group.Go(func() error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		return work(c.ctx)
	})
}

func (c *crew) wait() error { return c.group.Wait() }
