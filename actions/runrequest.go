package actions

// RunRequest is what a Runner runs: a released request.
type RunRequest struct {
	ID        string // the run's id: a ULID in lower case
	RequestID string
	Order     Order  // with Commit resolved
	Digest    string // of the plan that was agreed on
}
