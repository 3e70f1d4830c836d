package renew

import (
	"context"
	"fmt"
	"time"
)

// set takes h into use. What callers get at once is worked out here.
func (s *Source) set(h *held) {
	out := *h
	out.hot = time.Time{}
	if out.lost == nil {
		out.hot = earlier(out.next, out.mandatory)
	}
	s.current.Store(&out)
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// adopt takes what the store holds into use and returns that: another process's key, or the
// journal for the same one.
func (s *Source) adopt(h *held, doc document) *held {
	if doc.Key != h.doc.Key {
		h = newHeld(doc, s.before)
	} else {
		h = h.with(doc)
	}
	s.set(h)
	return h
}

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
