package approvals

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// Known is the request of env that key leads to already, without an error nil
// when there is none. Whoever checks a wish before it submits it asks this
// first, since what was accepted once stays accepted.
func (q *Requests) Known(ctx context.Context, env actions.Name, key string) (*Request, error) {
	return q.known(ctx, &Request{Key: key, Order: actions.Order{Env: env}})
}
