package approvals

import "context"

// SetPolicy makes p the policy from now on; nil means ReleaseAtOnce. What waits
// was weighed by the one before: Reconsider has it weighed anew, and what is
// released is weighed anew in any case before it runs.
func (q *Requests) SetPolicy(p Policy) {
	if p == nil {
		p = ReleaseAtOnce{}
	}
	q.policy.Store(&p)
}

// Reconsider has the policy asked again about every request that waits for
// decisions. It returns how many those are.
func (q *Requests) Reconsider(ctx context.Context) (int, error) {
	const page = largestPage
	count, f := 0, Filter{State: StatePending, Limit: page}
	for {
		found, next, err := q.List(ctx, f)
		if err != nil {
			return count, err
		}
		for _, r := range found {
			q.enqueue(r)
		}
		count += len(found)
		if f.Cursor = next; next == "" {
			return count, nil
		}
	}
}
