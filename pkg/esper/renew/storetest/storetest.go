// Package storetest checks that an implementation of [renew.Store] keeps the contract of that interface. A store that
// breaks the contract can lose a key. Call [Run] in a test of the implementation:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t,
//			func(t *testing.T) string { return filepath.Join(t.TempDir(), "esper", "key.json") },
//			func(address string) (renew.Store, error) { return renew.File(address), nil })
//	}
//
// For a store that other processes cannot open, call [RunInProcess]:
//
//	storetest.RunInProcess(t, func(*testing.T) renew.Store { return renew.Memory() })
//
// The implementation's own tests have to check what this package cannot: that a confirmed save survives a power cut,
// and that no error quotes the document.
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
	// patience is how long a check may take.
	patience = 30 * time.Second
	// large is the size of the largest document, in bytes: one that keeps an answer from Esper that could not be
	// parsed.
	large = 2 << 20
	// retries is how often a change is tried while each save ends with ErrConflict.
	retries = 1000
)

// Run checks the stores that open returns, in subtests. fresh prepares empty storage and returns its address: a path, a
// DSN, a name. open returns a store on the storage at an address.
//
// Run also starts the test binary again, with only the test that called Run, and calls open in that process. So open
// must find all that it needs in the address, and nothing in variables of the first process. The other process does
// not call fresh.
//
// Run takes about two seconds with a store that answers at once.
func Run(t *testing.T, fresh func(t *testing.T) (address string), open func(address string) (renew.Store, error), opts ...Option) {
	if isChild(t) {
		child(t, open)
		return
	}
	run(t, func(t *testing.T) opener {
		address := fresh(t)
		return func() (renew.Store, error) { return open(address) }
	}, checks(opts)...)
	for name, check := range processChecks() {
		t.Run(name, func(t *testing.T) { check(t, fresh(t), open) })
	}
}

// RunInProcess makes those checks of [Run] that need no other process, for stores such as [renew.Memory]. Each call of
// fresh returns an empty store.
func RunInProcess(t *testing.T, fresh func(t *testing.T) renew.Store, opts ...Option) {
	run(t, func(t *testing.T) opener {
		s := fresh(t)
		return func() (renew.Store, error) { return s, nil }
	}, checks(opts)...)
}

// Option changes what is checked.
type Option func(*limits)

type limits struct{ largest int }

// MaxDocument says that the store holds documents of at most this many bytes. The checks then want Save to refuse a
// document of 2 MiB, and to leave the stored one as it is. Without MaxDocument, they want it to save 2 MiB. Only a
// document that keeps an answer from Esper that could not be parsed is so large. Others are about 2 KiB.
func MaxDocument(bytes int) Option { return func(l *limits) { l.largest = bytes } }

type opener func() (renew.Store, error)

type check struct {
	name string
	run  func(h *harness)
}

func checks(opts []Option) []check {
	l := limits{largest: large}
	for _, opt := range opts {
		opt(&l)
	}
	return []check{
		{"Empty", (*harness).empty},
		{"RoundTrip", func(h *harness) { h.roundTrip(l.largest) }},
		{"TooLarge", func(h *harness) { h.tooLarge(l.largest) }},
		{"Versions", (*harness).versions},
		{"Conflict", (*harness).conflict},
		{"OneWins", (*harness).oneWins},
		{"Counting", (*harness).counting},
		{"WholeDocuments", (*harness).wholeDocuments},
		{"NoAliasing", (*harness).noAliasing},
		{"Cancelled", (*harness).cancelled},
	}
}

func run(t *testing.T, fresh func(t *testing.T) opener, checks ...check) {
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			h := &harness{t: t, ctx: ctx, opener: fresh(t)}
			h.within(func() { check.run(h) })
			h.over.Store(true)
		})
	}
}

// harness runs one check.
type harness struct {
	t      *testing.T
	ctx    context.Context // ends after patience
	opener opener
	over   atomic.Bool // the check has ended: failures after that are not reported
}

// stop is the value with which failNow panics, to end the goroutine of a failed check. t.FailNow may be called only in
// the goroutine of the test.
type stop struct{}

func (h *harness) failNow(format string, args ...any) {
	if !h.over.Load() {
		h.t.Errorf(format, args...)
	}
	panic(stop{})
}

// within runs f, and fails the check if f does not end in time: a store may ignore its context.
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
	case <-time.After(patience + time.Second):
		if !h.over.Swap(true) {
			h.t.Errorf("the check did not end within %v; does the store ignore its context?", patience)
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

func (h *harness) open() renew.Store {
	s, err := h.opener()
	if err != nil {
		h.failNow("open: %v", err)
	}
	return s
}

func (h *harness) load(s renew.Store) ([]byte, string) {
	document, version, err := s.Load(h.ctx)
	switch {
	case err != nil:
		h.failNow("Load: %v", err)
	case (document == nil) != (version == ""):
		h.failNow("Load returned %s with the version %q; want both nil and \"\", or neither", describe(document), version)
	}
	return document, version
}

// save replaces whatever is stored, and returns the new version.
func (h *harness) save(s renew.Store, document []byte) string {
	version, err := replace(h.ctx, s, func([]byte) []byte { return document })
	if err != nil {
		h.failNow("Save: %v", err)
	}
	return version
}

// replace changes the document by compare and swap. After a conflict it reads the document, because the contract
// allows a conflict although the save took effect.
func replace(ctx context.Context, s renew.Store, change func(old []byte) []byte) (version string, err error) {
	return swap(ctx, s, change, func(old, next, now []byte) bool { return bytes.Equal(now, next) && !bytes.Equal(now, old) })
}

// swap is replace with a function done, which tells whether the change is in the document. Others may have changed the
// document since.
func swap(ctx context.Context, s renew.Store, change func(old []byte) []byte, done func(old, next, now []byte) bool) (version string, err error) {
	for range retries {
		old, was, loadErr := s.Load(ctx)
		if loadErr != nil {
			return "", loadErr
		}
		next := change(old)
		if version, err = s.Save(ctx, next, was); err == nil || !errors.Is(err, renew.ErrConflict) {
			return version, err
		}
		if now, version, loadErr := s.Load(ctx); loadErr == nil && done(old, next, now) {
			return version, nil // the save took effect, and the conflict was about its own change
		}
	}
	return "", fmt.Errorf("%d saves in a row failed: %w", retries, err)
}

func (h *harness) wants(s renew.Store, want []byte, when string) {
	if got, _ := h.load(s); !bytes.Equal(got, want) {
		h.failNow("Load %s returned %s, want %s", when, describe(got), describe(want))
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
