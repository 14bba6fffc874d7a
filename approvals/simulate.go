package approvals

import "context"

// Weigh asks the policy what it makes of r, which need not be a request that is
// stored, and changes nothing. Its errors are those of the policy.
func (q *Requests) Weigh(ctx context.Context, r *Request) (Outcome, error) { return q.weigh(ctx, r) }
