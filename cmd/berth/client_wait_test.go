package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

// TestWaitingOutlivesARunThatIsNotThere: a request names its run a moment before
// that is there, and one that ends before its run began has none.
func TestWaitingOutlivesARunThatIsNotThere(t *testing.T) {
	const id, runID = "01JZZZZZZZZZZZZZZZZZZZZZZZ", "01JZZZZZZZZZZZZZZZZZZZZZZY"
	for name, c := range map[string]struct {
		begins bool // after the second look
		end    approvals.State
	}{
		"it begins later":            {begins: true, end: approvals.StateSucceeded},
		"it ends before its run did": {end: approvals.StateFailed},
	} {
		t.Run(name, func(t *testing.T) {
			looks, watched := 0, false
			request := func() api.Request {
				r := api.Request{ID: id, Verb: "deploy", Environment: "shop/pr-1", State: string(approvals.StateRunning), RunID: runID}
				if watched || looks > 1 && !c.begins {
					r.State = string(c.end)
				}
				return r
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/api/v1/requests/"+id:
					looks++
					w.Header().Set("Content-Type", "application/json")
					_ = json.NewEncoder(w).Encode(request())
				case strings.HasSuffix(r.URL.Path, "/events") && c.begins && looks > 1:
					watched = true
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = w.Write([]byte("event: end\ndata: {\"id\":\"" + runID + "\",\"state\":\"succeeded\"}\n\n"))
				default:
					w.Header().Set("Content-Type", "application/problem+json")
					w.WriteHeader(http.StatusNotFound)
					_, _ = w.Write([]byte(`{"status":404,"code":"not_found","detail":"There is no run."}`))
				}
			}))
			defer server.Close()
			client, err := apiclient.New(apiclient.Options{Server: server.URL, Token: "a-token"})
			if err != nil {
				t.Fatal(err)
			}
			cmd := &cobra.Command{}
			cmd.SetContext(context.WithoutCancel(t.Context()))
			first := request()
			got, err := (&follower{cmd: cmd, server: client}).follow(&first, true)
			if err != nil || got.State != string(c.end) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
