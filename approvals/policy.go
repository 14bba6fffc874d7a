package approvals

import "context"

// Effect is what a policy wants to become of a request.
type Effect string

// The effects.
const (
	EffectRelease Effect = "release" // it may run
	EffectRefuse  Effect = "refuse"  // it may not, whoever agrees
	EffectApprove Effect = "approve" // it may once people agreed; those who did are in its Decisions
)

// Outcome is a policy's answer.
type Outcome struct {
	Effect Effect
	Reason string   // one sentence for people; needed unless Effect is EffectRelease
	Rules  []string // names of the rules that led to it, for the audit
}

// Policy says what a planned request needs before it may run. It is asked when
// the plan is made, and again after each approval. An error means that it could
// not tell, which releases nothing; one that can be retried is.
type Policy interface {
	Evaluate(ctx context.Context, r *Request) (Outcome, error)
}

// ReleaseAtOnce is the policy that lets everything run.
type ReleaseAtOnce struct{}

// Evaluate releases r.
func (ReleaseAtOnce) Evaluate(context.Context, *Request) (Outcome, error) {
	return Outcome{Effect: EffectRelease}, nil
}
