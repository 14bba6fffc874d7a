package actions

import "context"

// Rehash computes a record's hash anew, as a forger would.
func Rehash(r Record) (string, error) {
	_, text, err := r.hashed()
	return string(text), err
}

// Put stores an environment as its first run would.
func Put(ctx context.Context, s *Store, env *Environment) error {
	if err := s.list(ctx, env.Name, env.State != StateCleaned); err != nil {
		return err
	}
	return s.save(ctx, env.Name, saving{env: env, rec: Record{Kind: "test"}})
}

// PutFenced stores an environment as the holder of a lease does.
func PutFenced(ctx context.Context, s *Store, env *Environment, l *Lease) error {
	return s.save(ctx, env.Name, saving{env: env, token: l.Token, rec: Record{Kind: "test"}})
}

// AnchorTurn is one interval of Anchoring.
func (s *Store) AnchorTurn(ctx context.Context) error { return s.anchorTurn(ctx) }
