package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/berth-dev/berth/actions"
)

// configure holds the executor's own settings against its schema of them, and
// keeps them for its calls. A *permanent error says what is wrong with the
// settings; any other one is about the schema.
func (i *instance) configure(schema *structpb.Struct, settings map[string]any) error {
	if schema == nil {
		if len(settings) > 0 {
			return i.unset("it takes none")
		}
		return nil
	}
	compiled, err := compileSchema(schema.AsMap())
	if err != nil {
		return err
	}
	var c carrier
	wire, err := c.object(settings)
	if err != nil {
		return i.unset("settings" + strings.TrimPrefix(err.Error(), "with"))
	}
	plain := wire.AsMap()
	if faults := compiled.faults("settings", plain, false); len(faults) > 0 {
		return i.unset(strings.Join(faults[:min(3, len(faults))], "; "))
	}
	if len(settings) == 0 {
		return nil
	}
	text, err := json.Marshal(plain) // with sorted keys, so that the same settings have the same sum
	if err != nil {
		return i.unset(err.Error())
	}
	sum := sha256.Sum256(text)
	i.settings, i.settingsSum = wire, "sha256:"+hex.EncodeToString(sum[:])
	return nil
}

func (i *instance) unset(why string) error {
	return &permanent{fmt.Sprintf("The executor %s cannot use `plugins.%s.settings` of the config: %s", i.name, i.name, why),
		actions.Errorf("host.configure", actions.CodeInvalid, "Correct the settings.")}
}
