// Package storetest checks that an implementation of [renew.Store] keeps the contract on which
// the safety of keys rests. Call [Run] in a test of the implementation:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) func() renew.Store {
//			path := filepath.Join(t.TempDir(), "esper", "key.json")
//			return func() renew.Store { return renew.File(path) }
//		})
//	}
//
// What it cannot check is left to the implementation's own tests: that the lock of a process that
// dies is freed, that what Save has confirmed outlives a power cut, that no error holds the document.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	// patience is how long something may take that has to happen.
	patience = 30 * time.Second
	// moment is how long something is watched that must not happen.
	moment = 150 * time.Millisecond
	// large is a document with an answer in it that could not be read.
	large = 2 << 20
)

// Run checks the stores that fresh makes, in subtests. Each call of fresh prepares storage with
// nothing in it, and gets the subtest, whose Cleanup may remove it. What fresh returns makes a
// handle on that storage with each call, as every process would have its own: one that opens a new
// connection or file shows more than one that returns the same store again.
//
// Run takes about two seconds with a store that answers at once.
func Run(t *testing.T, fresh func(t *testing.T) (open func() renew.Store)) {
	run(t, patience, fresh)
}

func run(t *testing.T, patience time.Duration, fresh func(t *testing.T) (open func() renew.Store)) {
	for _, check := range []struct {
		name string
		run  func(h *harness)
	}{
		{"Empty", (*harness).empty},
		{"RoundTrip", (*harness).roundTrip},
		{"NoAliasing", (*harness).noAliasing},
		{"WholeDocuments", (*harness).wholeDocuments},
		{"LockExcludes", (*harness).lockExcludes},
		{"LockWakes", (*harness).lockWakes},
		{"LockWaitEnds", (*harness).lockWaitEnds},
		{"UnlockTwice", (*harness).unlockTwice},
		{"WorksWhileLocked", (*harness).worksWhileLocked},
		{"Cancelled", (*harness).cancelled},
	} {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			h := &harness{t: t, ctx: ctx, patience: patience, open: fresh(t)}
			h.within(func() { check.run(h) })
			h.over.Store(true)
		})
	}
}

// harness is one check under way.
type harness struct {
	t        *testing.T
	ctx      context.Context // ends with patience
	patience time.Duration
	open     func() renew.Store
	over     atomic.Bool // what is late is not told any more
}

// stop ends a part of a check, which has failed; unlike t.FailNow in any goroutine.
type stop struct{}

func (h *harness) failNow(format string, args ...any) {
	if !h.over.Load() {
		h.t.Errorf(format, args...)
	}
	panic(stop{})
}

// within fails the check if f does not end: a store may ignore its context.
func (h *harness) within(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil && p != (stop{}) {
				panic(p)
			}
		}()
		f()
	}()
	select {
	case <-done:
	case <-time.After(h.patience + time.Second):
		if !h.over.Swap(true) {
			h.t.Errorf("the check did not end within %v; does the store ignore its context?", h.patience)
		}
	}
}

// together runs f n times at once and waits.
func (h *harness) together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { h.within(func() { f(i) }) })
	}
	all.Wait()
}

func (h *harness) save(s renew.Store, document []byte) {
	if err := s.Save(h.ctx, document); err != nil {
		h.failNow("Save: %v", err)
	}
}

func (h *harness) load(s renew.Store) []byte {
	document, err := s.Load(h.ctx)
	if err != nil {
		h.failNow("Load: %v", err)
	}
	return document
}

func (h *harness) wants(s renew.Store, want []byte, when string) {
	if got := h.load(s); !bytes.Equal(got, want) {
		h.failNow("Load %s returned %s, want %s", when, describe(got), describe(want))
	}
}

func (h *harness) lock(s renew.Store) (unlock func()) {
	unlock, err := s.Lock(h.ctx)
	if err != nil {
		h.failNow("Lock: %v", err)
	}
	if unlock == nil {
		h.failNow("Lock returned neither a function to unlock nor an error")
	}
	return unlock
}

// locked fails the check unless s cannot be locked at the moment.
func (h *harness) locked(s renew.Store, while string) {
	ctx, cancel := context.WithTimeout(h.ctx, moment)
	defer cancel()
	unlock, err := s.Lock(ctx)
	switch {
	case err == nil:
		unlock()
		h.failNow("Lock succeeded %s", while)
	case !errors.Is(err, context.DeadlineExceeded):
		h.failNow("Lock %s: %v; want an error that is context.DeadlineExceeded", while, err)
	case ctx.Err() == nil:
		h.failNow("Lock %s gave up before its context ended: %v", while, err)
	}
}

func describe(document []byte) string {
	const most = 60
	if document == nil {
		return "nil"
	}
	text := fmt.Sprintf("%d bytes", len(document))
	if len(document) <= most {
		text += fmt.Sprintf(" (%q)", document)
	}
	return text
}

// holders counts who holds a lock at the moment.
type holders struct{ now atomic.Int32 }

func (c *holders) enter(h *harness) {
	if n := c.now.Add(1); n != 1 {
		h.failNow("%d hold the lock at once", n)
	}
}

func (c *holders) leave() { c.now.Add(-1) }
