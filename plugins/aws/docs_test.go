package aws

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheDocumentationHasEveryKeyAndPolicy holds docs/aws.md to the schemas and
// to the rights that the executor asks for.
func TestTheDocumentationHasEveryKeyAndPolicy(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/aws.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	for _, where := range []map[string]any{withSchema(), settingsSchema()} {
		for key := range where["properties"].(map[string]any) {
			if !strings.Contains(doc, "`"+key+"`") {
				t.Errorf("it does not tell of `%s`", key)
			}
		}
	}
	for _, k := range kinds() {
		_, section, ok := strings.Cut(doc, "## ")
		for ok && !strings.Contains(strings.SplitN(section, "\n", 2)[0], "`"+k.name+"`") {
			_, section, ok = strings.Cut(section, "\n## ")
		}
		if !ok {
			t.Errorf("no heading names the kind `%s`", k.name)
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for key := range k.schema["properties"].(map[string]any) {
			if !strings.Contains(section, "`"+key+"`") && !strings.Contains(section, key+":") {
				t.Errorf("the section of `%s` does not tell of `%s`", k.name, key)
			}
		}
		if want := fmt.Sprintf("<details><summary><code>%s</code></summary>\n\n```json\n%s```\n", k.name, policy([]kind{k})); !strings.Contains(doc, want) {
			t.Errorf("the policy of `%s` is not there as it is asked for; it is\n%s", k.name, want)
		}
	}
}
