package configs

import "time"

// Reconcile is how Berth's records are compared with the world: with pull
// requests, and with what clusters hold.
type Reconcile struct {
	// Every is how often: 10m when absent, where there is something to compare
	// with (the section github, or this one). 0s is never.
	Every Duration `yaml:"every" json:"every,omitempty"`
	// Orphans is what becomes of what a cluster holds under Berth's labels and no
	// environment accounts for: report (when empty), or cleanup, through a request.
	Orphans string `yaml:"orphans" json:"orphans,omitempty" jsonschema:"enum=report,enum=cleanup"`
	// MaxDeletions is how many environments one sweep may have cleaned up: 10 when
	// absent. One that finds more asks for none, and says so.
	MaxDeletions int `yaml:"max_deletions" json:"max_deletions,omitempty" jsonschema:"minimum=1,maximum=1000"`
}

// Defaults and bounds of the section reconcile.
const (
	DefaultReconcileEvery = 10 * time.Minute
	DefaultMaxDeletions   = 10
	DefaultOrphans        = "report"

	minReconcile     = 10 * time.Second
	maxReconcile     = 24 * time.Hour
	mostMaxDeletions = 1000
)

func (r *Reconcile) setDefaults(github bool, written func(path string) bool) {
	if !written("reconcile.every") && (github || written("reconcile")) {
		r.Every = Duration(DefaultReconcileEvery)
	}
	if !written("reconcile.max_deletions") {
		r.MaxDeletions = DefaultMaxDeletions
	}
	if r.Orphans == "" && !written("reconcile.orphans") {
		r.Orphans = DefaultOrphans
	}
}

func (d *document) reconcile(r Reconcile) {
	if every := time.Duration(r.Every); every != 0 && (every < minReconcile || every > maxReconcile) {
		d.fault("reconcile.every", "this should be between %s and %s, or 0s for never", minReconcile, maxReconcile)
	}
	d.word("reconcile.orphans", r.Orphans, []string{"report", "cleanup"})
	if r.MaxDeletions < 1 || r.MaxDeletions > mostMaxDeletions {
		d.fault("reconcile.max_deletions", "this is between 1 and %d", mostMaxDeletions)
	}
}
