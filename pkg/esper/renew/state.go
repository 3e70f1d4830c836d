package renew

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// set takes h into use. What callers get at once is worked out here.
func (s *Source) set(h *keyState) {
	out := *h
	now := wallClock()
	out.hotFrom, out.hotFor = now.UnixNano(), 0
	if hot := earlier(out.next, out.mandatory).Sub(now); hot > 0 && out.lost == nil {
		out.hotFor = uint64(hot)
	}
	s.current.Store(&out)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// reload takes what the store holds into use and returns that: another process's key, or the journal
// for the same one. A key that the store lacks stays, until it is lost.
func (s *Source) reload(ctx context.Context) (*keyState, error) {
	h := s.current.Load()
	doc, found, err := s.load(ctx)
	switch {
	case err != nil:
		return h, err
	case !h.saved && (h.lost == nil || doc.Key == h.from):
		return h, nil
	case !found:
		return h, fmt.Errorf("renew: the document is gone from %s", s.storeName())
	}
	return s.adopt(h, doc), nil
}

func (s *Source) adopt(h *keyState, doc document) *keyState {
	if doc.Key != h.doc.Key {
		h = newKeyState(doc, s.before)
	} else {
		own := h.doc.Attempt
		owed := h.owed && (doc.Attempt == nil || !doc.Attempt.StartedAt.After(own.StartedAt))
		if owed {
			doc.Attempt = own
		}
		h = h.with(doc, s.before)
		h.owed = owed
	}
	s.set(h)
	return h
}

// saveJournal saves h, whose key may be the store's already, unless the store has got another key since it
// was looked at: that is newer, and is taken into use.
func (s *Source) saveJournal(ctx context.Context, h *keyState) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	doc, found, err := s.load(ctx)
	if err == nil && found && doc.Key != h.doc.Key && (h.saved || doc.Key != h.from) {
		s.adopt(h, doc)
		return nil
	}
	if err == nil {
		err = s.save(ctx, h.doc)
	}
	out := *h
	out.owed = err != nil && h.doc.Attempt != nil
	if err == nil {
		out.saved, out.from = true, ""
	}
	s.set(&out)
	return err
}

// saveNew stores h, whose key is new and not stored, and takes it into use: only the key that it
// replaces, or nothing, gives way. A key that came in by another way stays if it works.
func (s *Source) saveNew(ctx context.Context, h *keyState) error {
	loadCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	doc, found, err := s.load(loadCtx)
	if err == nil && found && doc.Key != h.from && doc.Key != h.doc.Key {
		_, infoErr := s.client.TokenInfo(withKey(ctx, esper.NewSecret(doc.Key)))
		switch {
		case infoErr == nil:
			s.set(newKeyState(doc, s.before))
			return nil
		case !errors.Is(infoErr, esper.ErrUnauthorized):
			err = fmt.Errorf("another key came into %s, and it cannot be told whether it works: %w", s.storeName(), infoErr)
		}
	}
	if err == nil {
		err = s.save(ctx, h.doc)
	}
	out := *h
	if err == nil {
		out.saved, out.from = true, ""
	}
	s.set(&out)
	if err != nil {
		return fmt.Errorf("renew: the new key is in use, and dies with this process, since it cannot be saved: %w", err)
	}
	return nil
}

// still reports whether the key in use is h's.
func (s *Source) still(h *keyState) bool { return s.current.Load().doc.Key == h.doc.Key }

// load reads the store; found is false if nothing was ever stored.
func (s *Source) load(ctx context.Context) (doc document, found bool, err error) {
	data, err := s.store.Load(ctx)
	if err == nil && data == nil {
		return document{}, false, nil
	}
	if err == nil {
		doc, err = decode(data, s.server.String())
	}
	if err != nil {
		return document{}, false, fmt.Errorf("renew: reading %s: %w", s.storeName(), err)
	}
	return doc, true, nil
}

// save outlives ctx, within bounds: what is to be saved may be there only once.
func (s *Source) save(ctx context.Context, doc document) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	data, err := doc.encode()
	if err == nil {
		err = s.store.Save(ctx, data)
	}
	if err != nil {
		return fmt.Errorf("renew: writing %s: %w", s.storeName(), err)
	}
	return nil
}

func (s *Source) storeName() string {
	if named, ok := s.store.(fmt.Stringer); ok {
		return named.String()
	}
	return "the store"
}

// unended is what keeps a renewal from being begun while an earlier one may be under way.
func (h *keyState) unended() error {
	return fmt.Errorf("renew: the renewal begun at %s did not end; the next waits until it cannot be under way any more",
		h.doc.Attempt.StartedAt.Format(time.RFC3339))
}
