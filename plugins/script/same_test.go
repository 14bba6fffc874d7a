package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestOfSeveralFaultsTheSameIsToldEachTime holds that a refusal does not depend on
// the order in which Go happens to walk a map: who asks again, or asks another
// replica, is told the same.
func TestOfSeveralFaultsTheSameIsToldEachTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	many := map[string]any{}
	for i := range 9 {
		many[fmt.Sprintf("k%d", i)] = "x"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed := w.runs("true", map[string]any{"dir": dir})
	program := changed.With["deploy"].([]any)[0].(string)
	changed.Agreed = map[string]string{"scripts": "sha256:other", "program " + program: "sha256:other"}
	platform := w.step(sdk.Deploy, nil)
	platform.Settings = many
	for name, step := range map[string]sdk.Step{
		"settings of the executor":  platform,
		"overrides":                 w.step(sdk.Deploy, map[string]any{"overrides": many}),
		"texts with a NUL":          w.step(sdk.Deploy, map[string]any{"project": "a\x00", "base_domain": "a\x00", "namespace": "a\x00", "name": "a\x00", "tag": "a\x00"}),
		"scripts that were changed": changed,
		"commands that are not there": w.step(sdk.Deploy, map[string]any{"commands": map[string]any{
			"info": "no-info", "notification": "no-notification", "archive_check": "no-archive-check", "config_check": "no-config-check", "tag_check": "no-tag-check",
		}}),
	} {
		said := map[string]bool{}
		for range 20 {
			_, err := w.run(step)
			e, ok := errors.AsType[*sdk.Error](err)
			if !ok || e.Fault != sdk.FaultInvalid || strings.Contains(e.Msg, "waiting") {
				t.Fatalf("%s: it ends with %v", name, err)
			}
			said[e.Msg] = true
		}
		if len(said) != 1 {
			t.Errorf("%s: %d different refusals: %v", name, len(said), said)
		}
	}
}
