package renew

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// advance does what is due now, and notes how it went and when to go on. It runs in one goroutine
// at a time.
func (s *Source) advance(ctx context.Context) {
	s.work <- struct{}{}
	defer func() { <-s.work }()
	before := s.current.Load()
	err := s.try(ctx)
	now, h := time.Now(), s.current.Load()
	if err == nil {
		s.set(h.wake(now))
	} else {
		least := time.Duration(0)
		if api := (*esper.APIError)(nil); errors.As(err, &api) {
			least = min(api.RetryAfter, failMax)
		}
		h = h.failed(now, least)
		if errors.Is(err, ErrKeyLost) {
			h.lost = err
		}
		s.set(h)
	}
	s.report(before, err)
}

// report tells Status, the log and OnRenew.
func (s *Source) report(before *held, err error) {
	s.mu.Lock()
	s.lastErr = err
	s.mu.Unlock()
	status := s.Status()
	renewed := s.current.Load().doc.Key != before.doc.Key
	if renewed {
		s.logger.Info("the Esper API key was replaced by a new one", slog.Time("expires", status.ExpiresAt), slog.Bool("saved", status.Saved))
	}
	if err != nil {
		s.logger.Error("the Esper API key could not be renewed or saved", slog.Any("error", err),
			slog.Time("expires", status.ExpiresAt), slog.Time("next_attempt", status.NextAttempt))
	}
	if s.onRenew != nil && (renewed || err != nil) {
		s.onRenew(status)
	}
}

// try looks at the store, and goes on under its lock if there is something to do.
func (s *Source) try(ctx context.Context) error {
	h := s.current.Load()
	doc, found, err := s.load(ctx)
	if err == nil && found && h.saved {
		h = s.adopt(h, doc)
	}
	now := time.Now()
	switch {
	case h.lost != nil:
		return h.lost // nothing is sent with a key that is refused; a new one in the store ends this
	case err != nil && now.Before(h.mandatory):
		return err
	case h.saved && now.Before(h.advisory) && !h.pending(now):
		return nil
	}
	unlock, err := s.store.Lock(ctx)
	if err != nil {
		return fmt.Errorf("renew: the store's lock: %w", err)
	}
	defer unlock()
	return s.locked(ctx)
}

// locked holds the store's lock, so that no other process renews; one may have done so meanwhile.
func (s *Source) locked(ctx context.Context) error {
	h := s.current.Load()
	doc, found, err := s.load(ctx)
	if !h.saved {
		err = s.place(ctx, h, doc, found, err)
		if h = s.current.Load(); err != nil && time.Now().Before(h.mandatory) {
			return err
		}
	} else if err == nil && found {
		h = s.adopt(h, doc)
	} else if now := time.Now(); now.Before(h.mandatory) {
		if err == nil {
			err = fmt.Errorf("renew: the document is gone from %s", s.storeName())
		}
		return err // there is time to mend the store; beyond it, the service counts more
	}
	now := time.Now()
	if h.pending(now) {
		if err := s.check(ctx, h, "an earlier renewal did not end"); err != nil {
			return err
		}
		h = h.looked()
		s.set(h)
	}
	if now.Before(h.advisory) || now.Before(h.pauseEnd()) {
		return nil
	}
	return s.renew(ctx, h)
}

// renew sends the renewal: journal, POST, store.
func (s *Source) renew(ctx context.Context, h *held) error {
	journal := h.doc
	journal.Attempt = newAttempt()
	err := s.save(ctx, journal)
	if err != nil && time.Now().Before(h.mandatory) {
		return fmt.Errorf("renew: not begun, since it could not be noted: %w", err)
	}
	h = h.with(journal)
	if err == nil {
		h.saved, h.from = true, ""
	}
	s.set(h)
	renewed, err := s.post(ctx, journal)
	if err == nil {
		next := journal
		next.renewed(renewed)
		return s.succeed(ctx, h, next)
	}
	var failed *esper.RenewalError
	if !errors.As(err, &failed) || failed.Outcome == esper.NotRenewed {
		clean := journal
		clean.Attempt = nil
		s.set(h.with(clean))
		saveErr := s.save(ctx, clean)
		if errors.Is(err, esper.ErrUnauthorized) {
			if lost := s.check(ctx, h.with(clean), "the server refuses to renew it"); lost != nil {
				return lost
			}
		}
		return errors.Join(err, saveErr)
	}
	if failed.Outcome == esper.RenewedUnread {
		kept := *journal.Attempt
		kept.keep(failed.Body)
		journal.Attempt = &kept
		h = h.with(journal)
		s.set(h)
		err = errors.Join(err, s.save(ctx, journal))
	}
	if checkErr := s.check(ctx, h, err.Error()); checkErr != nil {
		return errors.Join(checkErr, err)
	}
	s.set(h.looked())
	return err
}

func (s *Source) post(ctx context.Context, doc document) (*esper.RenewedToken, error) {
	ctx, cancel := context.WithTimeout(ctx, postTime)
	defer cancel()
	key := esper.NewSecret(doc.Key)
	return s.client.RenewToken(withKey(ctx, key), esper.RenewRequest{
		EnterpriseID: doc.EnterpriseID, DeveloperAppID: doc.DeveloperAppID, AccessToken: key,
	})
}

// succeed takes the new key into use, once it is stored if it can be. Where the answer does not
// say when the key ends, it is asked for, after the key is safe.
func (s *Source) succeed(ctx context.Context, h *held, next document) error {
	known := !next.ExpiresAt.IsZero()
	if !known {
		next.ExpiresAt = next.IssuedAt.Add(assumedLifetime)
	}
	replaced := newHeld(next, s.before)
	replaced.saved, replaced.from = false, h.doc.Key
	if !h.saved {
		replaced.from = h.from
	}
	doc, found, err := s.load(ctx)
	err = s.place(ctx, replaced, doc, found, err)
	if known || err != nil {
		return err
	}
	h = s.current.Load()
	info, err := s.client.TokenInfo(withKey(ctx, esper.NewSecret(h.doc.Key)))
	if err != nil {
		return nil // the end is assumed, and asked for again by the next renewal at the latest
	}
	told := h.doc
	told.learn(info)
	err = s.save(ctx, told)
	s.set(newHeld(told, s.before))
	return err
}

// place stores h, whose key is new and not stored, after a look at what load found: only the key
// that it replaces, or nothing, gives way. A key that came in by another way stays if it works.
func (s *Source) place(ctx context.Context, h *held, doc document, found bool, loadErr error) error {
	s.set(h)
	if loadErr == nil && found && doc.Key != h.from && doc.Key != h.doc.Key {
		if _, err := s.client.TokenInfo(withKey(ctx, esper.NewSecret(doc.Key))); !errors.Is(err, esper.ErrUnauthorized) {
			s.set(newHeld(doc, s.before))
			return nil
		}
	}
	if loadErr != nil {
		return fmt.Errorf("renew: the new key is in use, and dies with this process, since it cannot be saved: %w", loadErr)
	}
	if err := s.save(ctx, h.doc); err != nil {
		return fmt.Errorf("renew: the new key is in use, and dies with this process, since it cannot be saved: %w", err)
	}
	stored := *h
	stored.saved, stored.from = true, ""
	s.set(&stored)
	return nil
}

// check asks whether the key still works, after something that makes that doubtful. It returns nil
// if so, an error that is ErrKeyLost if it is refused, and any other if that cannot be told now.
func (s *Source) check(ctx context.Context, h *held, why string) error {
	_, err := s.client.TokenInfo(withKey(ctx, esper.NewSecret(h.doc.Key)))
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, esper.ErrUnauthorized):
		return fmt.Errorf("renew: cannot tell whether the key still works (%s): %w", why, err)
	}
	since := ""
	if a := h.doc.Attempt; a != nil {
		since = fmt.Sprintf(", begun at %s by process %d on %s", a.StartedAt.Format(time.RFC3339), a.PID, a.Host)
		if a.Answer != "" || a.AnswerBase64 != nil {
			since += "; the answer, which may hold its successor, is in " + s.storeName()
		}
	}
	return fmt.Errorf("%w: the server refuses it (%s%s); make a new key in the Esper Console, move %s away and start with the new key: %w",
		ErrKeyLost, why, since, s.storeName(), err)
}
