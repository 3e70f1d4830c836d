package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

func (h *harness) empty() {
	for _, s := range []renew.Store{h.open(), h.open()} {
		if document := h.load(s); document != nil {
			h.failNow("Load from empty storage returned %s, want nil", describe(document))
		}
		h.lock(s)() // a lock alone stores nothing
	}
}

// roundTrip saves documents of every kind, larger and smaller in turn.
func (h *harness) roundTrip() {
	bytewise := make([]byte, 256)
	for i := range bytewise {
		bytewise[i] = byte(i)
	}
	one, other := h.open(), h.open()
	for _, document := range [][]byte{
		[]byte("{\n  \"key\": \"value\"\n}\n"),
		bytes.Repeat([]byte("0123456789abcdef"), large/16),
		[]byte(" \r\n{}\r\n \n"),
		bytewise,
		[]byte("x"),
	} {
		h.save(one, document)
		h.wants(one, document, "after Save")
		h.wants(other, document, "through another handle")
		h.wants(h.open(), document, "through a new handle")
		one, other = other, one
	}
}

func (h *harness) noAliasing() {
	s, want := h.open(), []byte("as it was saved")
	document := slices.Clone(want)
	h.save(s, document)
	clear(document)
	h.wants(s, want, "after the saved slice was changed")
	clear(h.load(s))
	h.wants(s, want, "after a loaded slice was changed")
}

// wholeDocuments saves documents of different lengths and letters at once, and looks for mixtures.
func (h *harness) wholeDocuments() {
	const letters, rounds, least = "abc", 15, 40_000
	const writers = len(letters)
	document := func(i int) []byte { return bytes.Repeat([]byte(letters[i:i+1]), (i+1)*least) }
	h.save(h.open(), document(0))
	h.together(2*writers, func(i int) {
		s := h.open()
		for range rounds {
			if i < writers {
				h.save(s, document(i))
				continue
			}
			got := h.load(s)
			if !slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return bytes.Equal(got, document(i)) }) {
				h.failNow("Load during Save returned %s, which nobody saved", describe(got))
			}
		}
	})
}

// lockExcludes counts in the document, which loses counts if two do so at once.
func (h *harness) lockExcludes() {
	const handles, each, rounds = 3, 2, 4
	stores := []renew.Store{h.open(), h.open(), h.open()}
	h.save(stores[0], []byte("0"))
	var inside holders
	h.together(handles*each, func(i int) {
		s := stores[i%handles]
		for range rounds {
			unlock := h.lock(s)
			inside.enter(h)
			n, err := strconv.Atoi(string(h.load(s)))
			if err != nil {
				h.failNow("the counter: %v", err)
			}
			<-time.After(time.Millisecond) // for those whom the lock does not keep out
			h.save(s, []byte(strconv.Itoa(n+1)))
			inside.leave()
			unlock()
		}
	})
	if !h.t.Failed() {
		h.wants(h.open(), fmt.Append(nil, handles*each*rounds), "after counting under the lock")
	}
}

// lockWakes hands the lock on, also from a waiter that has given up.
func (h *harness) lockWakes() {
	one, other := h.open(), h.open()
	unlock := h.lock(one)
	h.locked(other, "through another handle while it is held")
	h.locked(one, "through the same handle while it is held")
	got := make(chan func(), 1)
	go func() {
		if unlock, err := other.Lock(h.ctx); err == nil {
			got <- unlock
		}
	}()
	select {
	case <-got:
		h.failNow("Lock did not wait for the holder")
	case <-time.After(moment):
	}
	unlock()
	select {
	case unlock = <-got:
	case <-h.ctx.Done():
		h.failNow("a waiter did not get the lock when it was free")
	}
	h.locked(one, "while the waiter holds it")
	unlock()
	h.lock(one)()
}

func (h *harness) lockWaitEnds() {
	one, other := h.open(), h.open()
	unlock := h.lock(one)
	defer unlock()
	for _, s := range []renew.Store{one, other} {
		ctx, cancel := context.WithCancel(h.ctx)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Lock(ctx)
			ended <- err
		}()
		<-time.After(moment / 2)
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				h.failNow("Lock, waiting as its context was cancelled, returned %v; want an error that is context.Canceled", err)
			}
		case <-h.ctx.Done():
			h.failNow("Lock did not end with its context")
		}
	}
}

// unlockTwice must not take the lock away from who has it next.
func (h *harness) unlockTwice() {
	one, other, third := h.open(), h.open(), h.open()
	first := h.lock(one)
	first()
	first()
	for _, s := range []renew.Store{other, one} {
		unlock := h.lock(s)
		first()
		h.locked(third, "after an earlier holder unlocked once more")
		unlock()
	}
	h.lock(third)()
}

func (h *harness) worksWhileLocked() {
	holder, other := h.open(), h.open()
	unlock := h.lock(holder)
	for i, s := range []renew.Store{holder, other} {
		document := fmt.Append(nil, "while locked ", i)
		h.save(s, document)
		h.wants(holder, document, "while locked")
		h.wants(other, document, "while another handle has the lock")
	}
	h.locked(other, "after Save and Load")
	unlock()
	h.lock(other)()
}

// cancelled calls everything with a context that has ended, often enough that no select gets by.
func (h *harness) cancelled() {
	const often = 20
	s, want := h.open(), []byte("before")
	h.save(s, want)
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	for range often {
		_, loadErr := s.Load(ctx)
		saveErr := s.Save(ctx, []byte("after"))
		unlock, lockErr := s.Lock(ctx)
		if lockErr == nil {
			unlock()
		}
		for name, err := range map[string]error{"Load": loadErr, "Save": saveErr, "Lock": lockErr} {
			if !errors.Is(err, context.Canceled) {
				h.failNow("%s with a cancelled context returned %v; want an error that is context.Canceled", name, err)
			}
		}
	}
	h.wants(s, want, "after a cancelled Save")
	h.lock(s)() // is still free
}
