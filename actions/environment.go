package actions

import "time"

// State is where an environment is in its life.
type State string

// The states of an environment. The table in state.go says how it moves.
const (
	StateCreatePending  State = "CreatePending"
	StateUpdatePending  State = "UpdatePending"
	StateRunning        State = "Running"
	StateFailure        State = "Failure"
	StateArchivePending State = "ArchivePending"
	StateArchived       State = "Archived"
	StateRestorePending State = "RestorePending"
	StateCleanupPending State = "CleanupPending"
	StateCleaned        State = "Cleaned" // gone; the record stays for its history
)

// Environment is the record of one running copy of an app.
type Environment struct {
	Name        Name                `json:"environment"`
	State       State               `json:"state"`
	Repo        string              `json:"repo,omitempty"`
	PullRequest int                 `json:"pull_request,omitempty"`
	Owner       Owner               `json:"owner,omitzero"` // who had it made, in this life
	Namespace   string              `json:"namespace,omitempty"`
	Cluster     string              `json:"cluster,omitempty"`
	Commit      Commit              `json:"commit,omitzero"` // what runs: the last successful deploy's
	Ref         string              `json:"ref,omitempty"`   // the branch or tag that Commit was asked for as
	Set         map[string]string   `json:"set,omitempty"`   // what runs was deployed with
	Vars        map[string]string   `json:"vars,omitempty"`
	Components  map[string]Built    `json:"components,omitempty"` // what runs was built from besides Commit
	Overrides   map[string]Override `json:"overrides,omitempty"`  // variables that people set for this environment; they count from its next deploy on
	Deployed    int                 `json:"deployed,omitempty"`   // the revision that runs: 1 for the first deploy of the name, and one more for each that succeeded since
	// FirstRevision is the one that the first success of this life has or will
	// have, so that Deployed is of this life if it is not less; 0 in records that
	// are older than it.
	FirstRevision int                   `json:"first_revision,omitempty"`
	Links         []Link                `json:"links,omitempty"`
	URL           string                `json:"url,omitempty"` // the first link
	Parts         map[string]PartStatus `json:"parts,omitempty"`
	LastAction    *LastAction           `json:"last_action,omitempty"`
	RunID         string                `json:"run_id,omitempty"` // the run that holds it now
	Sleeping      bool                  `json:"sleeping,omitempty"`
	SleptBy       string                `json:"slept_by,omitempty"`    // who put it to sleep: Order.By
	Mixed         bool                  `json:"mixed,omitempty"`       // parts of it may not be what revision Deployed made of them: an update or a cleanup began, and did not end
	HasArchive    bool                  `json:"has_archive,omitempty"` // parts of it may be archived; a deploy would start them empty
	Lock          *Lock                 `json:"lock,omitempty"`
	CreatedAt     time.Time             `json:"created_at"`
	UpdatedAt     time.Time             `json:"updated_at"`
	UsedAt        time.Time             `json:"used_at,omitzero"` // when somebody last had something done with it that is no taking away
	TTL           time.Duration         `json:"ttl,omitempty"`    // how long after its last use it expires; 0 means never
	Keep          bool                  `json:"keep,omitempty"`   // somebody said that it stays: it does not expire, and schedules leave it alone
	ExpiresAt     time.Time             `json:"expires_at,omitzero"`
	Revision      int64                 `json:"revision"` // goes up with every change of this record
	Fence         int64                 `json:"fence"`    // the token of the last writer
}

// Owner is who had an environment made: the order's By and Identity. Its names
// are as they were then; whose account the identity is now, others know.
type Owner struct {
	Actor    string `json:"actor,omitempty"`    // for display
	Identity string `json:"identity,omitempty"` // "github:ana"; "" in records that are older than it
}

// Override is a variable that somebody set for one environment.
type Override struct {
	Value  string    `json:"value,omitempty"`
	Secret string    `json:"secret,omitempty"` // a name among App.Offered, in place of Value
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// PartStatus is what is known of a part from its last step.
type PartStatus struct {
	Use     string    `json:"use"`
	State   string    `json:"state"` // a StepState
	Health  Health    `json:"health,omitempty"`
	Text    string    `json:"text,omitempty"`
	Outputs Outputs   `json:"outputs,omitempty"`
	Drift   []string  `json:"drift,omitempty"` // how it differed from what was deployed when it was last looked at
	At      time.Time `json:"at,omitzero"`
}

// LastAction says how the last action ended, so that "running abc123, but the
// update to def456 failed" can be said as just that.
type LastAction struct {
	Verb      Verb      `json:"verb"`
	RequestID string    `json:"request_id"`
	RunID     string    `json:"run_id"`
	Commit    Commit    `json:"commit,omitzero"`
	State     RunState  `json:"state"`
	Error     string    `json:"error,omitempty"` // for people
	Left      string    `json:"left,omitempty"`  // Run.Left
	By        string    `json:"by,omitempty"`
	At        time.Time `json:"at"`
}

// Lock keeps everyone's actions away from an environment.
type Lock struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// RunState is where a run is.
type RunState string

// The states of a run.
const (
	RunRunning   RunState = "running"
	RunSucceeded RunState = "succeeded"
	RunFailed    RunState = "failed"
	RunCancelled RunState = "cancelled"
)

// StepState is where a step is.
type StepState string

// The states of a step.
const (
	StepWaiting   StepState = "waiting"
	StepRunning   StepState = "running"
	StepDone      StepState = "done"
	StepFailed    StepState = "failed"
	StepSkipped   StepState = "skipped" // a step that it needs failed
	StepCancelled StepState = "cancelled"
)

// Run is one execution of a released request.
type Run struct {
	ID        string       `json:"id"`
	RequestID string       `json:"request_id"`
	Order     Order        `json:"order"`
	Digest    string       `json:"digest"`
	State     RunState     `json:"state"`
	Steps     []StepRecord `json:"steps"` // in the order of the app's parts
	// Error is why it failed or was cancelled. A running one that has it takes back
	// what it did.
	Error string `json:"error,omitempty"`
	// Left is where a run that did not succeed left its parts: "db runs bbbbbbb; web
	// is back at revision 1". It is empty when Error alone tells that.
	Left      string    `json:"left,omitempty"`
	Code      Code      `json:"code,omitempty"`
	Attempt   int       `json:"attempt"`            // 1, and one more for each worker that took it over
	Mixed     bool      `json:"mixed,omitempty"`    // Environment.Mixed when it began
	Before    State     `json:"before,omitempty"`   // the environment's state when it began
	Revision  int       `json:"revision,omitempty"` // what its success made of the environment: Environment.Deployed
	Back      int       `json:"back,omitempty"`     // rollback: the revision that it went back to
	StartedAt time.Time `json:"started_at"`
	// Deadline is when it is stopped, and fails; once it takes back what it did,
	// when it stops with that.
	Deadline time.Time `json:"deadline,omitzero"`
	EndedAt  time.Time `json:"ended_at,omitzero"`
}

// StepRecord is written before a step runs and after it ended.
type StepRecord struct {
	ID      string    `json:"id"`
	Part    string    `json:"part"`
	Use     string    `json:"use"`
	Verb    Verb      `json:"verb"`
	State   StepState `json:"state"`
	Undo    bool      `json:"undo,omitempty"` // it takes back what another step of the same part did (Part.OnFailure)
	Tries   int       `json:"tries,omitempty"`
	Error   string    `json:"error,omitempty"`
	Code    Code      `json:"code,omitempty"` // of the failure
	Outputs Outputs   `json:"outputs,omitempty"`
	// Receipts are the things that the step took away, the first ones of them, and
	// ReceiptsLeft is how many more there were.
	Receipts     []Resource `json:"receipts,omitempty"`
	ReceiptsLeft int        `json:"receipts_left,omitempty"`
	StartedAt    time.Time  `json:"started_at,omitzero"`
	EndedAt      time.Time  `json:"ended_at,omitzero"`
}

// Plan is what an action would change, part by part.
type Plan struct {
	Digest      string     `json:"digest"` // SHA-256, hex, over everything that decides what runs
	Order       Order      `json:"order"`  // with Commit resolved
	Namespace   string     `json:"namespace,omitempty"`
	Parts       []PartPlan `json:"parts"`
	Destructive bool       `json:"destructive,omitempty"`
	Summary     string     `json:"summary"`
	MadeAt      time.Time  `json:"made_at"`
	// Basis is everything that Digest covers, by name; Digest is DigestOf it.
	// Values that can be secrets are in it as SHA-256 alone. It is for comparing
	// (see Changed), not for people to read.
	Basis   map[string]string `json:"basis,omitempty"`
	Added   int               `json:"added,omitempty"`   // lines that the parts' whole diffs add
	Removed int               `json:"removed,omitempty"` // and take away; a brief plan has neither
}
