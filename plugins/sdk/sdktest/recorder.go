package sdktest

import (
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Recorder is an sdk.Events that keeps what a Run tells, for tests that call an
// executor directly. Its fields are for reading when the Run is over, but for On.
type Recorder struct {
	On func(text string) // called with each line and each progress, while the Run waits; nil without

	mu       sync.Mutex
	Logs     []string // lines
	Waits    []string // texts of progress
	Outputs  map[string]string
	Receipts []sdk.Resource
}

var _ sdk.Events = (*Recorder)(nil)

// NewRecorder makes an empty one.
func NewRecorder() *Recorder { return &Recorder{Outputs: map[string]string{}} }

func (r *Recorder) said(list *[]string, text string) {
	r.mu.Lock()
	*list = append(*list, text)
	on := r.On
	r.mu.Unlock()
	if on != nil {
		on(text)
	}
}

// Log implements sdk.Events.
func (r *Recorder) Log(line string) { r.said(&r.Logs, line) }

// Progress implements sdk.Events.
func (r *Recorder) Progress(text string, _, _ int) { r.said(&r.Waits, text) }

// Output implements sdk.Events.
func (r *Recorder) Output(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Outputs[key] = value
}

// Receipt implements sdk.Events.
func (r *Recorder) Receipt(of sdk.Resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Receipts = append(r.Receipts, of)
}

// Text is every line and progress so far, a line each. It may be called while
// the Run goes on.
func (r *Recorder) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(slices.Concat(r.Logs, r.Waits), "\n")
}
