// Command berth-redis is an executor of Berth. It gives each environment a share
// of a Redis server that many use: a user, and the keys and channels under a
// prefix, which nobody else's user can touch.
package main

import (
	"context"
	"net"

	"github.com/berth-dev/berth/plugins/sdk"
)

type executor struct {
	// dial opens connections; nil is the usual way.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func main() { sdk.Serve(executor{}) }

func (executor) Describe() sdk.Description {
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": description}
	}
	return sdk.Description{
		Name: "redis", Version: "1.0.0", Verbs: []sdk.Verb{sdk.Deploy, sdk.Cleanup},
		Schema: map[string]any{
			"type": "object", "additionalProperties": false, "required": []any{"password"},
			"properties": map[string]any{
				"password": sdk.SecretSchema(),
				"template": text("A prefix of keys that a new environment gets copies of."),
			},
		},
		SettingsSchema: map[string]any{
			"type": "object", "additionalProperties": false, "required": []any{"address"},
			"properties": map[string]any{
				"address":  text("Of the Redis server: host:port."),
				"user":     text("An administrator; `default` when left out."),
				"password": sdk.SecretSchema(),
			},
		},
	}
}
