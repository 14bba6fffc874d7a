package awstest

import "strings"

// Faults is what goes wrong. Calls are counted from the moment they are set;
// 0 means never.
type Faults struct {
	// ThrottleEvery answers every n-th call as one too many.
	ThrottleEvery int
	// Throttle answers a call that it says true of as one too many.
	Throttle func() bool
	// FailEvery answers every n-th call with an error of the server's.
	FailEvery int
	// HangAt does the n-th call and never answers it.
	HangAt int
	// KillAfter does the n-th call, cuts its connection, and refuses all that
	// comes later, until Heal: what it is when the caller dies there.
	KillAfter int
	// KillAfterChange is KillAfter, counting only calls that change something.
	KillAfterChange int
	// KillBefore cuts the connection of the n-th call and does not do it.
	KillBefore int
	// Struck is called when HangAt or one of the Kills strikes, before the
	// connection is cut; a test ends its executor there.
	Struck func()
	// Deny refuses calls whose "service:Operation" it says true of.
	Deny func(call string) bool
}

// SetFaults has calls go wrong from now on, and counts them anew.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.counted, s.changed, s.dead = f, 0, 0, false
}

// Heal ends all faults.
func (s *Server) Heal() { s.SetFaults(Faults{}) }

// Dead tells whether KillAfter, KillAfterChange or KillBefore struck.
func (s *Server) Dead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// fate is what becomes of a call.
type fate int

const (
	answered fate = iota
	throttled
	failed
	denied
	hung     // done, never answered
	cut      // done, connection cut
	cutFirst // not done, connection cut
)

// fateOf counts a call and decides on it.
func (s *Server) fateOf(name string, change bool) (fate, func()) {
	if s.dead {
		return cutFirst, nil
	}
	s.counted++
	if change {
		s.changed++
	}
	every := func(n, of int) bool { return n > 0 && of%n == 0 }
	f := s.faults
	switch {
	case f.Deny != nil && f.Deny(name):
		return denied, nil
	case f.KillBefore > 0 && s.counted == f.KillBefore:
		s.dead = true
		return cutFirst, f.Struck
	case f.KillAfter > 0 && s.counted == f.KillAfter, f.KillAfterChange > 0 && change && s.changed == f.KillAfterChange:
		s.dead = true
		return cut, f.Struck
	case f.HangAt > 0 && s.counted == f.HangAt:
		return hung, f.Struck
	case f.Throttle != nil && f.Throttle(), every(f.ThrottleEvery, s.counted):
		return throttled, nil
	case every(f.FailEvery, s.counted):
		return failed, nil
	}
	return answered, nil
}

// reads are how operations begin that change nothing.
var reads = []string{"Get", "Describe", "List", "Head", "AssumeRole", "Validate", "Estimate", "BatchGet", "Simulate", "Detect", "TestDNS", "Receive"}

// changes tells whether an operation changes something.
func changes(operation string) bool {
	for _, r := range reads {
		if strings.HasPrefix(operation, r) {
			return false
		}
	}
	return true
}

// throttle and failure are how services say that there were too many calls, and
// that it is their fault.
func throttle(m *model) *apiError {
	switch {
	case m.Metadata.EndpointPrefix == "s3":
		return fail("SlowDown", "Please reduce your request rate.").withStatus(503)
	case strings.HasSuffix(m.Metadata.Protocol, "json"):
		return fail("ThrottlingException", "Rate exceeded")
	}
	return fail("Throttling", "Rate exceeded")
}

func failure(m *model) *apiError {
	switch {
	case m.Metadata.EndpointPrefix == "s3":
		return fail("InternalError", "We encountered an internal error. Please try again.").withStatus(500)
	case strings.HasSuffix(m.Metadata.Protocol, "json"):
		return fail("InternalServerError", "The request processing has failed because of an unknown error.").withStatus(500)
	}
	return fail("InternalFailure", "The request processing has failed because of an unknown error.").withStatus(500)
}
