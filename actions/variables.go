package actions

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of the variables that people set for an environment.
const (
	MaxOverrides     = 100     // variables of one environment
	MaxOverrideValue = 4 << 10 // bytes of one value
)

// variableName is what a variable may be called.
// Source: https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ValidVariable tells whether name can be a variable's.
func ValidVariable(name string) bool { return variableName.MatchString(name) }

// SetVars sets variables of an environment, and takes back those of unset; they
// count from its next deploy on. What is as wanted already is left alone. By and
// At of set are filled in from rec and the clock; of rec, whoever acts and where
// is used. The audit has the names, never the values.
//
// It returns CodeInvalid for a name or value that cannot be and for a variable
// that is to be set and unset, CodeNotFound for an environment that is not there
// and for a variable to take back that is not set, and CodeConflict where
// somebody has locked the environment.
func (s *Store) SetVars(ctx context.Context, name Name, set map[string]Override, unset []string, rec Record) (*Environment, error) {
	const op = "store.set_vars"
	if err := checkOverrides(op, set, unset); err != nil {
		return nil, err
	}
	return s.change(ctx, name, rec, func(env *Environment, rec *Record) (bool, error) {
		switch {
		case env.State == StateCleaned:
			return false, Errorf(op, CodeNotFound, "%s was cleaned up; deploy it to have it anew.", name)
		case env.Lock != nil:
			return false, Errorf(op, CodeConflict, "%s is locked by %s%s; unlock it first.", name, clip(env.Lock.By), because(env.Lock.Reason))
		}
		overrides := maps.Clone(env.Overrides)
		if overrides == nil {
			overrides = map[string]Override{}
		}
		var changed, gone []string
		for _, key := range slices.Sorted(maps.Keys(set)) {
			o, was := set[key], overrides[key]
			if was.Value == o.Value && was.Secret == o.Secret && was.By != "" {
				continue
			}
			o.By, o.At = rec.Actor, s.clock()
			overrides[key] = o
			changed = append(changed, key)
		}
		for _, key := range unset {
			if _, there := overrides[key]; !there {
				return false, Errorf(op, CodeNotFound, "%s has no variable %s of its own; what the configuration gives stays.", name, clip(key))
			}
			delete(overrides, key)
			gone = append(gone, key)
		}
		if len(overrides) > MaxOverrides {
			return false, Errorf(op, CodeInvalid, "%s would have %d variables of its own, and %d is the most; take some back first.", name, len(overrides), MaxOverrides)
		}
		if len(changed)+len(gone) == 0 {
			return false, nil
		}
		if len(overrides) == 0 {
			overrides = nil
		}
		env.Overrides = overrides
		rec.Kind, rec.Detail = "environment.variables", map[string]string{}
		if len(changed) > 0 {
			rec.Detail["set"] = short(strings.Join(changed, " "), maxDetail)
		}
		if len(gone) > 0 {
			rec.Detail["unset"] = short(strings.Join(gone, " "), maxDetail)
		}
		return true, nil
	})
}

func checkOverrides(op string, set map[string]Override, unset []string) error {
	for key, o := range set {
		switch {
		case !ValidVariable(key):
			return Errorf(op, CodeInvalid, "%q cannot be a variable: names are letters, digits and \"_\", not beginning with a digit.", clip(key))
		case len(o.Value) > MaxOverrideValue:
			return Errorf(op, CodeInvalid, "The value of %s has %d bytes, and %d is the most.", key, len(o.Value), MaxOverrideValue)
		case !utf8.ValidString(o.Value) || strings.ContainsRune(o.Value, 0):
			return Errorf(op, CodeInvalid, "The value of %s is not text, and only text can be a variable.", key)
		case o.Value != "" && o.Secret != "":
			return Errorf(op, CodeInvalid, "%s is to be a value and a secret at once; say one.", key)
		case slices.Contains(unset, key):
			return Errorf(op, CodeInvalid, "%s is to be set and taken back at once; say one.", key)
		}
	}
	return nil
}

// variables are what the steps of an environment get: the app's, and over them
// what people set for the environment. It returns CodeInvalid for a secret that
// the app no longer offers where verb brings something up; what is there can be
// put aside and taken away without it.
func variables(app *App, env *Environment, verb Verb) (vars map[string]string, secrets map[string]SecretRef, err error) {
	vars, secrets = maps.Clone(app.Vars), maps.Clone(app.Secrets)
	if env == nil || env.State == StateCleaned || len(env.Overrides) == 0 {
		return vars, secrets, nil
	}
	if vars == nil {
		vars = map[string]string{}
	}
	if secrets == nil {
		secrets = map[string]SecretRef{}
	}
	for key, o := range env.Overrides {
		delete(vars, key)
		delete(secrets, key)
		if o.Secret == "" {
			vars[key] = o.Value
			continue
		}
		ref, offered := app.Offered[o.Secret]
		if !offered && !verb.TakesCommit() {
			continue
		}
		if !offered {
			return nil, nil, Errorf("plan.variables", CodeInvalid, "Variable %s of %s is set to the secret %s, which %s does not offer any more; unset it, or list the secret under offer_secrets.",
				key, env.Name, clip(o.Secret), app.Name)
		}
		secrets[key] = ref
	}
	return vars, secrets, nil
}
