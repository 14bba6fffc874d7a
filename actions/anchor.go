package actions

import (
	"context"
	"time"
)

// anchorEvery is how often an anchor is made when something moved.
const anchorEvery = time.Minute

// Anchored is an anchor that stands for all that was recorded before it. Who
// keeps one outside of Redis can show later that nothing was written anew.
type Anchored struct {
	Seq  int64     `json:"seq"`  // 0 when there is none
	Hash string    `json:"hash"` // of the anchor
	Time time.Time `json:"time"` // when it was made
}

// Verified is what VerifyAll looked at.
type Verified struct {
	Chains     int      `json:"chains"`
	Records    int64    `json:"records"`
	Unanchored int64    `json:"unanchored"` // records that no anchor vouches for yet; only their chain does
	Anchors    int64    `json:"anchors"`
	Anchor     Anchored `json:"anchor"` // the newest one
	Breaks     int      `json:"breaks"`
}

// VerifyAll checks the chains of app, or with "" all chains, against themselves
// and against the anchors, and tells each break that it finds. Its error says
// that it could not look: CodeUnavailable when Redis did not answer. A break is
// not an error.
func (s *Store) VerifyAll(ctx context.Context, app string, tell func(AuditBreak)) (Verified, error) {
	var v Verified
	for after := (Name{}); ; {
		names, err := s.Chains(ctx, app, after, 500)
		if err != nil {
			return v, err
		}
		if len(names) == 0 {
			return v, nil
		}
		for _, env := range names {
			one, err := s.verifyChain(ctx, env, nil, func(b AuditBreak) { v.Breaks++; tell(b) })
			if err != nil {
				return v, err
			}
			v.Chains, v.Records, v.Unanchored = v.Chains+1, v.Records+one.records, v.Unanchored+one.fresh
		}
		after = names[len(names)-1]
	}
}
