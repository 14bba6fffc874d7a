package kube

import (
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Receipts sees to it that a step gives one receipt for each thing that it takes
// away, once the thing is gone, and none for what was not there. A nil *Receipts
// gives none: that of a step that takes away only for a while. It is safe for
// concurrent use.
type Receipts struct {
	mu     sync.Mutex
	absent map[string]bool // was not there when the step began
	told   map[string]bool
}

// NewReceipts makes one for a step.
func NewReceipts() *Receipts { return &Receipts{absent: map[string]bool{}, told: map[string]bool{}} }

// Gone tells out that r is gone, the first time.
func (l *Receipts) Gone(out sdk.Events, r sdk.Resource) {
	if l == nil {
		return
	}
	r.Change = sdk.ChangeDelete
	key := receiptKey(r)
	l.mu.Lock()
	known := l.absent[key] || l.told[key]
	l.told[key] = true
	l.mu.Unlock()
	if !known {
		out.Receipt(r)
	}
}

// Absent notes that r was not there when the step began.
func (l *Receipts) Absent(r sdk.Resource) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.absent[receiptKey(r)] = true
}

func receiptKey(r sdk.Resource) string { return r.Kind + "/" + r.Namespace + "/" + r.Name }
