package sdk

import (
	"errors"
	"strings"
	"testing"
)

func TestASecretInSettingsIsAReference(t *testing.T) {
	tests := map[string]struct {
		value any
		want  SecretRef
		bad   bool
	}{
		"a variable":                    {value: map[string]any{"env": "KEY"}, want: SecretRef{Env: "KEY"}},
		"a file":                        {value: map[string]any{"file": "/run/key"}, want: SecretRef{File: "/run/key"}},
		"a key of a Secret":             {value: map[string]any{"kubernetes": map[string]any{"name": "dns", "key": "tsig"}}, want: SecretRef{SecretName: "dns", SecretKey: "tsig"}},
		"a key of another's Secret":     {value: map[string]any{"kubernetes": map[string]any{"namespace": "infra", "name": "dns", "key": "tsig"}}, want: SecretRef{SecretNamespace: "infra", SecretName: "dns", SecretKey: "tsig"}},
		"written out":                   {value: "canary-value", bad: true},
		"two places":                    {value: map[string]any{"env": "KEY", "file": "/run/key"}, bad: true},
		"an empty place":                {value: map[string]any{"env": ""}, bad: true},
		"another word with a value":     {value: map[string]any{"value": "canary-value"}, bad: true},
		"a key of a Secret without one": {value: map[string]any{"kubernetes": map[string]any{"name": "dns"}}, bad: true},
		"a number for a name":           {value: map[string]any{"kubernetes": map[string]any{"name": int64(1), "key": "k"}}, bad: true},
		"nothing":                       {bad: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := SecretOf(test.value, "the TSIG key of example.org")
			if test.bad {
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Fault != FaultInvalid || !strings.HasPrefix(e.Msg, "The TSIG key of example.org ") {
					t.Errorf("SecretOf says %v", err)
				} else if strings.Contains(e.Error(), "canary") {
					t.Errorf("the error repeats the value: %v", err)
				}
				return
			}
			test.want.Name = "the TSIG key of example.org"
			if err != nil || got != test.want {
				t.Errorf("SecretOf is %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}
