package renew

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a store that tells when it is locked.
type watched struct {
	Store
	onLock func()
}

func (w watched) Lock(ctx context.Context) (func(), error) {
	w.onLock()
	return w.Store.Lock(ctx)
}

// unsaved makes the source hold a key that is not in the store and came after stubFirst, which is.
func unsaved(source *Source, lost error) *keyState {
	h := *source.current.Load()
	h.doc.Key, h.saved, h.from, h.lost = "unsaved", false, stubFirst, lost
	source.set(&h)
	return source.current.Load()
}

func keyOf(source *Source) string { return source.current.Load().doc.Key }

func byHand(t *testing.T, server *stub, store Store) {
	t.Helper()
	server.add("by hand")
	put(t, store, document{Key: "by hand", IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day)})
}

// Who starts at the same time and is faster has the say, or two keys would be in use.
func TestOpenAfterAFasterProcess(t *testing.T) {
	server, memory := newStub(90*day), Memory()
	source := opened(t, server, watched{memory, func() { byHand(t, server, memory) }})
	if got := stored(t, memory).Key; got != "by hand" || keyOf(source) != got || server.counted("info") != 0 {
		t.Errorf("stored %s, in use %s, %d questions", got, keyOf(source), server.counted("info"))
	}
}

func TestNothingDueTakesNoLock(t *testing.T) {
	locks := 0
	source := opened(t, newStub(90*day), watched{Memory(), func() { locks++ }})
	locks = 0
	if acted, err := source.try(t.Context()); !acted || err != nil || locks != 0 {
		t.Errorf("acted %t, %v, %d locks", acted, err, locks)
	}
}

// A key that came into the store by hand takes the place of one that is lost, and of no other.
func TestLookAfterALostKey(t *testing.T) {
	server, store := newStub(90*day), Memory()
	source := opened(t, server, store)
	unsaved(source, ErrKeyLost)
	if h, err := source.reload(t.Context()); err != nil || h.doc.Key != "unsaved" {
		t.Errorf("the key it had replaced came back: %s, %v", h.doc.Key, err)
	}
	byHand(t, server, store)
	unsaved(source, nil)
	if h, err := source.reload(t.Context()); err != nil || h.doc.Key != "unsaved" {
		t.Errorf("a key that works gave way to %s, %v", h.doc.Key, err)
	}
	unsaved(source, ErrKeyLost)
	if h, err := source.reload(t.Context()); err != nil || h.doc.Key != "by hand" {
		t.Errorf("a lost key stays: %s, %v", h.doc.Key, err)
	}
}

func TestNoteKeepsANewerKey(t *testing.T) {
	server, store := newStub(90*day), &faulty{Store: Memory()}
	source := opened(t, server, store)
	h := unsaved(source, nil).noting(newAttempt())
	store.set(nil, func([]byte) error { return errDisk })
	if err := source.saveJournal(t.Context(), h); !errors.Is(err, errDisk) || !source.current.Load().owed {
		t.Errorf("%v, owed %t", err, source.current.Load().owed)
	}
	store.set(nil, nil)
	if err := source.saveJournal(t.Context(), h); err != nil || stored(t, store).Key != "unsaved" || stored(t, store).Attempt == nil || source.current.Load().owed {
		t.Errorf("%v, stored %s, owed %t", err, stored(t, store).Key, source.current.Load().owed)
	}
	byHand(t, server, store)
	if err := source.saveJournal(t.Context(), unsaved(source, nil)); err != nil || stored(t, store).Key != "by hand" || keyOf(source) != "by hand" {
		t.Errorf("%v, stored %s, in use %s", err, stored(t, store).Key, keyOf(source))
	}
}

func TestPlaceInAnEmptyStore(t *testing.T) {
	server := newStub(90 * day)
	source := opened(t, server, Memory())
	source.store = Memory() // somebody has removed the file
	if err := source.saveNew(t.Context(), unsaved(source, nil)); err != nil || stored(t, source.store).Key != "unsaved" || server.counted("info") != 1 {
		t.Errorf("%v, %d questions", err, server.counted("info"))
	}
}

// The server refuses the key just when another came into the store.
func TestCheckFindsAnotherKey(t *testing.T) {
	server, store := newStub(90*day), &faulty{Store: Memory()}
	source := opened(t, server, store)
	h := source.current.Load()
	server.revoke("other")
	byHand(t, server, store)
	store.set(func() error { return errDisk }, nil)
	if err := source.check(t.Context(), h, "why"); !errors.Is(err, ErrKeyLost) || strings.Contains(err.Error(), "the answer, which may hold its successor") {
		t.Errorf("with an unreadable store: %v", err)
	}
	store.set(nil, nil)
	if err := source.check(t.Context(), h, "why"); err != nil || keyOf(source) != "by hand" {
		t.Errorf("%v, in use %s", err, keyOf(source))
	}
	server.revoke("other")
	h = source.current.Load()
	source.store = Memory() // somebody has removed the file
	if err := source.check(t.Context(), unsaved(source, nil), "why"); !errors.Is(err, ErrKeyLost) || keyOf(source) != "unsaved" {
		t.Errorf("with an empty store: %v, in use %q", err, keyOf(source))
	}
	source.set(h)
	answered := h.noting(&attempt{AnswerBase64: []byte("\xff")})
	if err := source.check(t.Context(), answered, "why"); !errors.Is(err, ErrKeyLost) || !strings.Contains(err.Error(), "the answer, which may hold its successor") {
		t.Errorf("with an answer in the journal: %v", err)
	}
}

// That a failure could not be noted either is told beside it.
func TestFailureThatCannotBeNoted(t *testing.T) {
	for name, renewal := range map[string]func(func() *http.Response) (*http.Response, error){
		"refused": fails(403),
		"unread":  func(func() *http.Response) (*http.Response, error) { return reply(201, "{"), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, renewal)
			server.keepOld = true
			saves := 0
			store.set(nil, func([]byte) error {
				if saves++; saves > 1 { // the journal before the renewal is written
					return errDisk
				}
				return nil
			})
			wantKey(t, source, stubFirst)
			synctest.Wait()
			if err := source.Status().LastError; !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "RenewToken") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// While a renewal may be under way none begins. Callers have to know why once they wait for it.
func TestPauseIsToldInTheMandatoryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for left, told := range map[time.Duration]bool{day: false, 2 * time.Minute: true} {
			server, store := newStub(90*day), Memory()
			now := wallClock()
			put(t, store, document{IssuedAt: now.Add(-90 * day), ExpiresAt: now.Add(left), Attempt: &attempt{StartedAt: now.Add(-time.Minute)}})
			source := opened(t, server, store)
			acted, err := source.try(t.Context())
			if !acted || (err != nil) != told || told && !strings.Contains(err.Error(), "did not end; the next waits") || server.counted("renew") != 0 {
				t.Errorf("%v before the end: %v, %d renewals", left, err, server.counted("renew"))
			}
		}
	})
}
