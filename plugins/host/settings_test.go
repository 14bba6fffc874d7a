package host_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
	"github.com/berth-dev/berth/plugins/sdk"
)

func settingsSchema() map[string]any {
	return map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"region"},
		"properties": map[string]any{
			"region": map[string]any{"type": "string", "pattern": "^[a-z]+-[a-z]+-[0-9]$"},
			"size":   map[string]any{"type": "integer", "maximum": 1_000_000},
			"key":    sdk.SecretSchema(),
		},
	}
}

// blunt is a testExecutor that can do its work and nothing else.
type blunt struct{ x *testExecutor }

func (b blunt) Describe() sdk.Description { return b.x.Describe() }
func (b blunt) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	return b.x.Run(ctx, step, out)
}

func TestSettingsReachTheExecutorAndAreInEveryPlan(t *testing.T) {
	const name = "settings of the executor"
	sums := map[string]string{}
	for what, p := range map[string]host.Plugin{
		"one":                       {Args: []string{"settings"}, Settings: map[string]any{"region": "eu-central-1", "size": uint64(5)}},
		"the same":                  {Args: []string{"settings"}, Settings: map[string]any{"size": 5.0, "region": "eu-central-1"}},
		"another":                   {Args: []string{"settings"}, Settings: map[string]any{"region": "eu-central-2", "size": 5}},
		"one that plans nothing":    {Args: []string{"settings", "plans-nothing"}, Settings: map[string]any{"region": "eu-central-1", "size": 5}},
		"none, where none is known": {},
	} {
		_, x := start(t, options(&buffer{}, p))
		plan, err := x.Plan(t.Context(), step("build"))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		sums[what] = plan.Inputs[name]
		if p.Settings == nil {
			continue
		}
		out, err := x.Run(t.Context(), step("settings"), nil)
		if err != nil || out["region"] != p.Settings["region"] || out["size"] != "int64 5" {
			t.Errorf("%s: the executor has %v, %v", what, out, err)
		}
	}
	if sums["one"] == "" || sums["one"] != sums["the same"] || sums["one"] == sums["another"] || sums["one"] != sums["one that plans nothing"] || sums["none, where none is known"] != "" {
		t.Errorf("the sums are %v", sums)
	}
}

func TestSettingsThatDoNotFitKeepTheExecutorDownAndSayWhy(t *testing.T) {
	right := map[string]any{"region": "eu-central-1"}
	with := func(key string, value any) map[string]any {
		m := maps.Clone(right)
		m[key] = value
		return m
	}
	tests := map[string]struct {
		args     []string
		settings map[string]any
		want     string
	}{
		"for an executor that takes none":   {nil, right, "it takes none"},
		"without what is needed":            {[]string{"settings"}, nil, `settings lacks "region"`},
		"with a key that is not known":      {[]string{"settings"}, with("regoin", "canary-value"), `settings has "regoin", which the executor does not know`},
		"with another type":                 {[]string{"settings"}, with("size", "canary-value"), "settings.size is of type string and has to be integer"},
		"with a number that is too large":   {[]string{"settings"}, with("size", uint64(1)<<60), "settings.size is too large"},
		"with a secret that is written out": {[]string{"settings"}, with("key", "canary-value"), "settings.key "},
		"with a name that is not text":      {[]string{"settings"}, with("key", map[any]any{1: "canary-value"}), "settings.key has a name that is not text"},
		"with text that is not UTF-8":       {[]string{"settings"}, with("region", "\xff"), "settings.region is not valid UTF-8"},
		"of a schema that is none":          {[]string{"bad-settings-schema"}, right, "describes its own settings by a JSON Schema that is not one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &buffer{}
			h, x := start(t, options(log, host.Plugin{Args: tt.args, Settings: tt.settings}))
			_, err := x.Plan(t.Context(), step("build"))
			if actions.CodeOf(err) != actions.CodeUnavailable || !strings.Contains(actions.Message(err), tt.want) {
				t.Errorf("a call says %v, want %q", err, tt.want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			status := h.Checks(ctx)
			if len(status) != 1 || status[0].Up || !strings.Contains(status[0].Error, tt.want) {
				t.Errorf("the checks say %+v, want %q", status, tt.want)
			}
			if strings.Contains(err.Error()+status[0].Error+log.String(), "canary") {
				t.Errorf("a value is repeated: %v; %s", err, log)
			}
		})
	}
}
