package bot

import (
	"context"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// What surfaces that show data instead of words read. Their callers have made
// sure that whoever asks may read.

// Parse understands a line without doing it.
func (s *Service) Parse(line string) (Command, error) { return s.parse(line) }

// Apps are the apps that are configured, sorted by name.
func (s *Service) Apps() []*actions.App { return s.catalog.Apps() }

// App is the config of an app, nil when it is not configured, or no more.
func (s *Service) App(name string) *actions.App {
	app, err := s.catalog.App(name)
	if err != nil {
		return nil
	}
	return app
}

// Environment is actions.Store.Environment.
func (s *Service) Environment(ctx context.Context, name actions.Name) (*actions.Environment, error) {
	return s.store.Environment(ctx, name)
}

// Environments is actions.Store.Environments.
func (s *Service) Environments(ctx context.Context, f actions.EnvFilter) ([]*actions.Environment, string, error) {
	return s.store.Environments(ctx, f)
}

// Run is actions.Store.Run.
func (s *Service) Run(ctx context.Context, id string) (*actions.Run, error) {
	return s.store.Run(ctx, id)
}

// Runs is actions.Store.Runs.
func (s *Service) Runs(ctx context.Context, name actions.Name, limit int) ([]*actions.Run, error) {
	return s.store.Runs(ctx, name, limit)
}

// Events is actions.Store.Events.
func (s *Service) Events(ctx context.Context, runID, after string, limit int, block time.Duration) ([]actions.Event, error) {
	return s.store.Events(ctx, runID, after, limit, block)
}

// AuditFrom is actions.Store.AuditFrom.
func (s *Service) AuditFrom(ctx context.Context, name actions.Name, after int64, limit int) (records []actions.Record, to int64, err error) {
	return s.store.AuditFrom(ctx, name, after, limit)
}

// VerifyAudit is actions.Store.VerifyAll.
func (s *Service) VerifyAudit(ctx context.Context, app string, tell func(actions.AuditBreak)) (actions.Verified, error) {
	return s.store.VerifyAll(ctx, app, tell)
}

// VerifyChain is actions.Store.VerifyChain.
func (s *Service) VerifyChain(ctx context.Context, name actions.Name, tell func(actions.AuditBreak)) (actions.Verified, error) {
	return s.store.VerifyChain(ctx, name, tell)
}

// Chains is actions.Store.Chains.
func (s *Service) Chains(ctx context.Context, app string, after actions.Name, limit int) ([]actions.Name, error) {
	return s.store.Chains(ctx, app, after, limit)
}

// Request is approvals.Requests.Get.
func (s *Service) Request(ctx context.Context, id string) (*approvals.Request, error) {
	return s.requests.Get(ctx, id)
}

// Requests is approvals.Requests.List.
func (s *Service) Requests(ctx context.Context, f approvals.Filter) ([]*approvals.Request, string, error) {
	return s.requests.List(ctx, f)
}

// Claim is approvals.Requests.Claim.
func (s *Service) Claim(ctx context.Context, key, content string) (bool, error) {
	return s.requests.Claim(ctx, key, content)
}
