package approvals

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// Standing returns the requests of env that have not ended, in the order in
// which they came and without their plans. However many came after one of them
// and have ended since, it is among these; List shows the newest only. It returns
// CodeUnavailable when Redis does not answer.
func (q *Requests) Standing(ctx context.Context, env actions.Name) ([]*Request, error) {
	return q.standing(ctx, env)
}
