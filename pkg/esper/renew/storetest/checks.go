package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

func (h *harness) empty() {
	for range 2 { // again, in case Load created something
		for _, s := range []renew.Store{h.open(), h.open()} {
			if document, version, err := s.Load(h.ctx); document != nil || version != "" || err != nil {
				h.failNow("Load from empty storage returned %s, %q, %v; want nil, \"\" and no error", describe(document), version, err)
			}
		}
	}
	if _, err := h.open().Save(h.ctx, []byte("x"), "never issued"); err == nil {
		h.failNow("Save to empty storage succeeded with a version that was never issued")
	}
}

// roundTrip saves documents of every kind, larger and smaller in turn.
func (h *harness) roundTrip(largest int) {
	bytewise := make([]byte, 256)
	for i := range bytewise {
		bytewise[i] = byte(i)
	}
	one, other := h.open(), h.open()
	for _, document := range [][]byte{
		[]byte("{\n  \"key\": \"value\"\n}\n"),
		bytes.Repeat([]byte("0123456789abcdef"), largest/16),
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

// tooLarge saves a document that is larger than the limit of the store.
func (h *harness) tooLarge(largest int) {
	if largest == large {
		return // the store has no limit
	}
	s, want := h.open(), []byte("before")
	version := h.save(s, want)
	if _, err := s.Save(h.ctx, bytes.Repeat([]byte("x"), large), version); err == nil || errors.Is(err, renew.ErrConflict) {
		h.failNow("Save of %d bytes, where the store is said to hold %d, returned %v; want an error that is not ErrConflict", large, largest, err)
	}
	h.wants(s, want, "after a document that was too large")
}

// versions wants a new version after each save, and the same version from Save and from the Load after it. A store may
// change a version by itself now and then, so half of them may differ.
func (h *harness) versions() {
	const saves, least = 10, 5
	s, same, last := h.open(), 0, ""
	for i := range saves {
		version := h.save(s, fmt.Append(nil, "document ", i))
		if version == "" || version == last {
			h.failNow("the version after a save is %q, and it was %q before", version, last)
		}
		if _, loaded := h.load(h.open()); loaded == version {
			same++
		}
		last = version
	}
	if same < least {
		h.failNow("Save and the Load after it returned different versions, %d times of %d", saves-same, saves)
	}
}

// conflict saves with versions that are not the document's.
func (h *harness) conflict() {
	s, other := h.open(), h.open()
	h.save(s, []byte("first"))
	_, old := h.load(s)
	h.save(other, []byte("second"))
	for _, version := range []string{"", old, "never issued"} {
		for _, s := range []renew.Store{s, other} {
			if _, err := s.Save(h.ctx, []byte("third"), version); !errors.Is(err, renew.ErrConflict) {
				h.failNow("Save with the version %q, which is not the document's, returned %v; want an error that is ErrConflict", version, err)
			}
			h.wants(h.open(), []byte("second"), "after a conflict")
		}
	}
}

// oneWins has several goroutines save with the same version: one save at most may succeed.
func (h *harness) oneWins() {
	const writers, rounds = 8, 10
	for round := range rounds {
		_, version := h.load(h.open())
		var wins atomic.Int32
		h.together(writers, func(i int) {
			s := h.open()
			document := fmt.Append(nil, "round ", round, " writer ", i)
			_, err := s.Save(h.ctx, document, version)
			if err == nil {
				wins.Add(1)
				h.wants(s, document, "by the goroutine whose save succeeded")
			} else if !errors.Is(err, renew.ErrConflict) {
				h.failNow("Save with a version that %d others use too: %v; want an error that is ErrConflict", writers-1, err)
			}
		})
		if n := wins.Load(); n > 1 {
			h.failNow("%d saves with the same version succeeded, want one", n)
		}
	}
}

// sign appends a word that nobody else appends, by compare and swap.
func sign(ctx context.Context, s renew.Store, word string) error {
	_, err := swap(ctx, s,
		func(old []byte) []byte { return append(slices.Clone(old), word+" "...) },
		func(_, _, now []byte) bool { return strings.Contains(string(now), word+" ") })
	return err
}

// signed returns what is wrong with a document that must hold this many words, each once. It returns "" if nothing is.
func signed(document []byte, words int) string {
	counts := make(map[string]int)
	for _, word := range strings.Fields(string(document)) {
		counts[word]++
		if counts[word] > 1 {
			return "a change was made twice"
		}
	}
	if len(counts) != words {
		return fmt.Sprintf("of %d changes by compare and swap, %d are in the document", words, len(counts))
	}
	return ""
}

// counting changes the document from several goroutines at once. No change may be lost.
func (h *harness) counting() {
	const handles, rounds = 4, 15
	h.together(handles, func(i int) {
		s := h.open()
		for n := range rounds {
			if err := sign(h.ctx, s, fmt.Sprintf("%d.%d", i, n)); err != nil {
				h.failNow("a change by compare and swap: %v", err)
			}
		}
	})
	if h.t.Failed() {
		return
	}
	document, _ := h.load(h.open())
	if wrong := signed(document, handles*rounds); wrong != "" {
		h.failNow("%s", wrong)
	}
}

const letters, letterLength = "abc", 40_000

// letter returns a document that repeats one letter. Each letter has a length of its own.
func letter(i int) []byte {
	return bytes.Repeat([]byte(letters[i:i+1]), (i+1)*letterLength)
}

func isLetter(document []byte) bool {
	return slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return bytes.Equal(document, letter(i)) })
}

// wholeDocuments saves documents of different lengths and letters at once, and looks for mixtures.
func (h *harness) wholeDocuments() {
	const writers, rounds = len(letters), 10
	h.save(h.open(), letter(0))
	h.together(2*writers, func(i int) {
		s := h.open()
		for range rounds {
			if i < writers {
				h.save(s, letter(i))
			} else if got, _ := h.load(s); !isLetter(got) {
				h.failNow("Load during Save returned %s, which nobody saved", describe(got))
			}
		}
	})
}

func (h *harness) noAliasing() {
	s, want := h.open(), []byte("as it was saved")
	document := slices.Clone(want)
	h.save(s, document)
	clear(document)
	h.wants(s, want, "after the saved slice was changed")
	loaded, _ := h.load(s)
	clear(loaded)
	h.wants(s, want, "after a loaded slice was changed")
}

// cancelled calls Load and Save with a context that has ended. It does so many times, because a select in the store
// picks one of its ready cases at random.
func (h *harness) cancelled() {
	const often = 20
	s, want := h.open(), []byte("before")
	h.save(s, want)
	_, version := h.load(s)
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	for range often {
		_, _, loadErr := s.Load(ctx)
		_, saveErr := s.Save(ctx, []byte("after"), version)
		for name, err := range map[string]error{"Load": loadErr, "Save": saveErr} {
			if !errors.Is(err, context.Canceled) {
				h.failNow("%s with a cancelled context returned %v; want an error that is context.Canceled", name, err)
			}
		}
	}
	h.wants(s, want, "after a cancelled Save")
}
