package renew

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	mostTold = 256             // how many records and changes may wait
	tellTime = 5 * time.Second // how long Run and Close wait until all is told
)

// teller calls the log handler and the function of WithOnChange, one call at a time and in order, in a goroutine of its
// own. So nothing that renews or saves waits for them, and both may use the source.
type teller struct {
	logger *slog.Logger // is told how many records and changes did not fit

	mu      sync.Mutex // guards what follows
	waiting []told
	dropped int
	idle    chan struct{} // closed when nothing is left to tell; nil if nothing is being told
	failure bool          // a failure is being told
}

type told struct {
	tell func()
	kind EventKind // "" for a record
}

// record adds a log record.
func (t *teller) record(tell func()) { t.add(told{tell: tell}) }

// add adds a record or a change. If too many wait, a new record is dropped, and for a change the oldest record, or else the
// oldest change. A failure that happens while another one is being told is dropped: the function may have caused it, and
// would cause one more each time.
func (t *teller) add(one told) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.kind == Failed && t.failure {
		return
	}
	if len(t.waiting) >= mostTold {
		t.dropped++
		if one.kind == "" {
			return
		}
		oldest := max(0, slices.IndexFunc(t.waiting, func(w told) bool { return w.kind == "" }))
		t.waiting = slices.Delete(t.waiting, oldest, oldest+1)
	}
	t.waiting = append(t.waiting, one)
	if t.idle == nil {
		t.idle = make(chan struct{})
		go t.run()
	}
}

func (t *teller) run() {
	for {
		t.mu.Lock()
		t.failure = false
		if n := t.dropped; n > 0 {
			t.dropped = 0
			t.waiting = slices.Insert(t.waiting, 0, told{tell: func() {
				t.logger.Warn(fmt.Sprintf("%d log records and changes of the key were dropped, because the log or the function of WithOnChange was too slow", n),
					slog.Int("dropped", n))
			}})
		}
		if len(t.waiting) == 0 {
			close(t.idle)
			t.idle = nil
			t.mu.Unlock()
			return
		}
		one := t.waiting[0]
		t.waiting, t.failure = t.waiting[1:], one.kind == Failed
		t.mu.Unlock()
		one.tell()
	}
}

// wait waits until all is told, but no longer than tellTime.
func (t *teller) wait() {
	t.mu.Lock()
	idle := t.idle
	t.mu.Unlock()
	if idle != nil {
		ctx, cancel := context.WithTimeout(context.Background(), tellTime)
		defer cancel()
		wait(ctx, idle)
	}
}
