package aws

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestSettingsThatAreWrongAreRefusedPlainly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ settings, with, says string }{
		"an unknown setting":      {settings: `{"regoin": "eu-central-1"}`, says: `"regoin"`},
		"no region at all":        {settings: `{}`, with: `{"secret": {}}`, says: "name no region"},
		"a region that is none":   {settings: `{"region": "Frankfurt"}`, says: "no AWS region"},
		"a role that is none":     {settings: `{"region": "eu-central-1", "role": "berth"}`, says: "write its ARN"},
		"an unknown kind":         {settings: `{"region": "eu-central-1", "kinds": ["mainframe"]}`, says: "mainframe"},
		"a pause that is none":    {settings: `{"region": "eu-central-1", "poll": "soon"}`, says: "`poll`"},
		"a reserved tag":          {settings: `{"region": "eu-central-1", "tags": {"aws:x": "y"}}`, says: "aws:x"},
		"a tag with odd signs":    {with: `{"secret": {}, "tags": {"team": "a\nb"}}`, says: "not one that AWS takes"},
		"a kind that is no map":   {with: `{"secret": "x"}`, says: "holds settings"},
		"two sources":             {with: `{"rds": {"snapshot": "a", "from": {"environment": "b"}}}`, says: "not both"},
		"itself as the source":    {with: `{"rds": {"from": {"environment": "pr-42"}}}`, says: "this environment itself"},
		"no source of any sort":   {with: `{"rds": {"from": {}}}`, says: "names another environment"},
		"aurora as an instance":   {with: `{"rds": {"engine": "aurora-mysql"}}`, says: "use `aurora`"},
		"postgres as a cluster":   {with: `{"aurora": {"engine": "postgres"}}`, says: "no engine of Aurora"},
		"less room than it has":   {with: `{"rds": {"engine": "postgres", "storage": 100, "max_storage": 50}}`, says: "`max_storage`"},
		"a key that is twice":     {with: `{"secret": {"values": {"a": "b"}, "generate": {"a": 20}}}`, says: "twice"},
		"a secret written out":    {with: `{"secret": {"secrets": {"token": "hunter2-canary"}}}`, says: "not written out"},
		"a number for a text":     {with: `{"rds": {"engine": 7}}`, says: "`engine`"},
		"a retention that is odd": {with: `{"secret": {}, "retain": "-7d"}`, says: "`retain`"},
		"a time that is odd":      {with: `{"secret": {}, "timeout": "0s"}`, says: "`timeout`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.settings == "" {
				test.settings = `{"region": "eu-central-1", "endpoint": "http://127.0.0.1:1"}`
			}
			step := sdk.Step{ID: "1", App: "shop", Env: "pr-42", Part: "db", Verb: sdk.Deploy}
			for text, into := range map[string]*map[string]any{test.settings: &step.Settings, test.with: &step.With} {
				if text == "" {
					continue
				}
				if err := json.Unmarshal([]byte(text), into); err != nil {
					t.Fatal(err)
				}
			}
			_, err := New(Options{}).Plan(t.Context(), step)
			refused(t, err, test.says)
		})
	}
}

func TestRetentionIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{"none": now.Format(time.RFC3339), "forever": "forever", "7d": "2026-03-08T12:00:00Z", "36h": "2026-03-03T00:00:00Z"} {
		r, err := readRetain(text, retention{})
		if err != nil || r.String() != text || r.until(now) != want {
			t.Errorf("%s is read as %s until %s, %v; want %s", text, r, r.until(now), err, want)
		}
	}
}

// FuzzSettings looks for settings that are taken for a bug of the executor.
func FuzzSettings(f *testing.F) {
	f.Add(`{"region": "eu-central-1"}`, `{"rds": {"engine": "postgres"}}`)
	f.Add(`{"accounts": {"a": {"role": "arn:aws:iam::123456789012:role/x"}}}`, `{"secret": {"secrets": {"a": {"env": "B"}}}, "account": "a"}`)
	f.Add(`null`, `{"aurora": null, "retain": "9999d", "tags": {"": ""}}`)
	f.Fuzz(func(t *testing.T, settings, with string) {
		step := sdk.Step{ID: "1", App: "shop", Env: "pr-42", Part: "db", Verb: sdk.Deploy}
		if json.Unmarshal([]byte(settings), &step.Settings) != nil || json.Unmarshal([]byte(with), &step.With) != nil {
			return
		}
		_, err := New(Options{}).open(t.Context(), step)
		if e, ok := errors.AsType[*sdk.Error](err); err != nil && (!ok || e.Fault != sdk.FaultInvalid || len(e.Msg) > 2000) {
			t.Errorf("settings %s and with %s: %v", settings, with, err)
		}
	})
}
