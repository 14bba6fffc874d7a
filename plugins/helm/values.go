package helm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// layered puts a part's values together: its settings, the app's variables and
// secrets over them, and what the requester set over those. The chart's own
// defaults lie below all of it and are not in the result. Notes are sentences
// for the log of the run.
func layered(ch *chart.Chart, s settings, step sdk.Step, secrets map[string]string) (values map[string]any, notes []string, err error) {
	values, _ = kube.CopyValue(s.Values).(map[string]any)
	if values == nil {
		values = map[string]any{}
	}
	vars := make(map[string]string, len(step.Vars)+len(secrets))
	maps.Copy(vars, step.Vars)
	maps.Copy(vars, secrets)
	if len(secrets) > 0 && s.VarsKey == "" {
		notes = append(notes, "The app has secrets, which do not reach the chart: `vars_key` is empty.")
	}
	if len(vars) > 0 && s.VarsKey != "" {
		note, err := addVars(ch, values, s.VarsKey, vars)
		if err != nil {
			return nil, nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	if len(step.Set) == 0 {
		return values, notes, nil
	}
	inForce, err := chartutil.CoalesceValues(ch, values)
	if err != nil {
		return nil, nil, sdk.Invalid("The chart's values cannot be put together: %v.", err)
	}
	// In order of keys, so that the same request always gives the same values.
	for _, key := range slices.Sorted(maps.Keys(step.Set)) {
		path, err := parseKey(key)
		if err != nil {
			return nil, nil, err
		}
		if _, err := place(values, inForce.AsMap(), path, key, step.Set[key]); err != nil {
			return nil, nil, err
		}
		if inForce, err = chartutil.CoalesceValues(ch, values); err != nil {
			return nil, nil, sdk.Invalid("The chart's values cannot be put together: %v.", err)
		}
	}
	return values, notes, nil
}

// addVars merges the app's variables into the map at key, as text.
func addVars(ch *chart.Chart, values map[string]any, key string, vars map[string]string) (note string, err error) {
	path, err := parseKey(key)
	if err != nil {
		return "", err
	}
	var below any = ch.Values
	known := true
	at := values
	for i, h := range path {
		if h.index >= 0 {
			return "", sdk.Invalid("`vars_key` is %q, but the variables can only go to a map, not into a list.", kube.Clip(key, 60))
		}
		belowMap, _ := below.(map[string]any)
		below, known = belowMap[h.name]
		if !mapOrNothing(below) || !mapOrNothing(at[h.name]) {
			return "", sdk.Invalid("The app's variables cannot go to %q in the chart's values: it is not a map there. Set `vars_key` to a place that is one, or to \"\" to keep the variables out.", kube.Clip(key, 60))
		}
		next, _ := at[h.name].(map[string]any)
		if next == nil {
			next = map[string]any{}
			at[h.name] = next
		}
		at = next
		if i == len(path)-1 {
			for name, value := range vars {
				at[name] = value // text, whatever it looks like
			}
		}
	}
	if !known {
		return "The chart has no value \"" + key + "\", so the app's variables may not reach it; `vars_key` says where they go.", nil
	}
	return "", nil
}

func mapOrNothing(v any) bool {
	if v == nil {
		return true
	}
	_, ok := v.(map[string]any)
	return ok
}

// valuesDigest is over canonical JSON: encoding/json sorts the keys of maps.
func valuesDigest(values map[string]any) (string, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return "", sdk.Invalid("The values cannot be written as JSON: %v.", err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
