package bot_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/bottest"
)

// TestValuesOfSetAreUsedButNotShown holds both sides: an executor gets what was
// set, and nothing that people read repeats it.
func TestValuesOfSetAreUsedButNotShown(t *testing.T) {
	const value = "hunter2-correct-horse"
	ctx := context.Background()
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	said := w.Say("deploy shop/pr-42 --set image.tag=" + value)
	w.Do("deploy shop/pr-42 --set image.tag=" + value)
	r, err := w.Requests.Get(ctx, said.Request.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Order.Set["image.tag"] != value {
		t.Errorf("the order sets %q", r.Order.Set)
	}
	audit, err := w.Store.Audit(ctx, r.Order.Env, 0, 100)
	if err != nil || len(audit) == 0 {
		t.Fatalf("%d audit records, %v", len(audit), err)
	}
	records, err := json.Marshal(audit)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"the reply": said.Text, "the request's command": r.Command, "the audit": string(records),
		"status": w.Say("status shop/pr-42").Text, "explain": w.Say("explain " + r.ID).Text,
	} {
		if strings.Contains(text, value) {
			t.Errorf("%s repeats a value of --set:\n%s", what, text)
		}
	}
	if !strings.Contains(r.Command, "image.tag=") {
		t.Errorf("the command does not name the key: %s", r.Command)
	}
}
