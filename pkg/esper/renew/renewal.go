package renew

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// advance does what is due now, and notes how it went and when to go on. It runs in one goroutine
// at a time.
func (s *Source) advance(ctx context.Context) {
	s.work <- struct{}{}
	defer func() { <-s.work }()
	before := s.current.Load()
	acted, err := s.try(ctx)
	now, h := time.Now(), s.current.Load()
	switch {
	case !acted:
		s.set(h.asleep(now))
		return
	case err == nil:
		s.set(h.wake(now))
	default:
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

// try looks at the store, and goes on under its lock if there is something to do. It has not acted
// if a failure keeps it from that: then only another key in the store changes anything.
func (s *Source) try(ctx context.Context) (acted bool, err error) {
	h, err := s.reload(ctx)
	now := time.Now()
	switch {
	case h.waiting(now):
		return false, nil
	case err != nil && h.saved && now.Before(h.mandatory):
		return true, err // there is time to mend the store; beyond it, the service counts more
	case err == nil && h.saved && !h.owed && now.Before(h.advisory) && !h.pending(now):
		return true, nil
	}
	unlock, err := s.store.Lock(ctx)
	if err != nil {
		return true, fmt.Errorf("renew: the store's lock: %w", err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holdTime)
	defer cancel()
	return true, s.locked(ctx)
}

// locked holds the store's lock, so that no other process renews; one may have done so meanwhile.
func (s *Source) locked(ctx context.Context) error {
	h, err := s.reload(ctx)
	switch {
	case !h.saved:
		err = s.saveNew(ctx, h)
	case err == nil && h.owed:
		err = s.saveJournal(ctx, h)
	}
	h = s.current.Load()
	now := time.Now()
	if err != nil && now.Before(h.mandatory) {
		return err
	}
	if h.pending(now) {
		if err := s.check(ctx, h, "an earlier renewal did not end"); err != nil || !s.still(h) {
			return err
		}
		h = h.looked()
		s.set(h)
	}
	switch wait := h.pauseEnd(now); {
	case now.Before(h.advisory):
		return err
	case now.Before(wait):
		if err == nil && !now.Before(h.mandatory) {
			err = h.unended()
		}
		return err
	}
	return s.renew(ctx, h)
}

// renew sends the renewal: journal, POST, store.
func (s *Source) renew(ctx context.Context, h *keyState) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < postTime {
		return errors.New("renew: not begun, since the look at the key took so long that the lock could end meanwhile")
	}
	past, journal := h.doc.Attempt, newAttempt()
	if past != nil { // an answer is kept until there is a new key
		journal.Answer, journal.AnswerBase64 = past.Answer, past.AnswerBase64
	}
	err := s.saveJournal(ctx, h.noting(journal))
	if !s.still(h) {
		return nil
	}
	if err != nil && time.Now().Before(h.mandatory) {
		s.set(h)
		return fmt.Errorf("renew: not begun, since it could not be noted: %w", err)
	}
	h = s.current.Load()
	renewed, err := s.post(ctx, h.doc)
	if err == nil {
		next := h.doc
		next.renewed(renewed)
		return s.succeed(ctx, h, next)
	}
	var failed *esper.RenewalError
	if !errors.As(err, &failed) || failed.Outcome == esper.OutcomeNotRenewed {
		if past != nil && past.Answer == "" && past.AnswerBase64 == nil {
			past = nil
		}
		return s.refused(ctx, h.noting(past), err)
	}
	if failed.Outcome == esper.OutcomeUnreadable {
		kept := *h.doc.Attempt
		kept.keep(failed.Body)
		if saveErr := s.saveJournal(ctx, h.noting(&kept)); saveErr != nil {
			err = errors.Join(err, saveErr)
		}
	}
	return s.ask(ctx, h, "it is unknown whether a renewal replaced it", err)
}

// refused is for a renewal that was not carried out: h is as before it.
func (s *Source) refused(ctx context.Context, h *keyState, err error) error {
	unauthorized := errors.Is(err, esper.ErrUnauthorized)
	if saveErr := s.saveJournal(ctx, h); saveErr != nil {
		err = errors.Join(err, saveErr)
	}
	if unauthorized {
		return s.ask(ctx, h, "it also refuses to renew it", err)
	}
	if !s.still(h) {
		return nil
	}
	return err
}

// ask checks the key after the renewal that failed with err, and returns what there is to say.
func (s *Source) ask(ctx context.Context, h *keyState, why string, err error) error {
	if !s.still(h) {
		return nil
	}
	if checkErr := s.check(ctx, s.current.Load(), why); checkErr != nil {
		return errors.Join(checkErr, err)
	}
	if !s.still(h) {
		return nil
	}
	if h = s.current.Load(); h.doc.Attempt != nil {
		s.set(h.looked())
	}
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
func (s *Source) succeed(ctx context.Context, h *keyState, next document) error {
	known := !next.ExpiresAt.IsZero()
	if !known {
		next.ExpiresAt = next.IssuedAt.Add(assumedLifetime)
	}
	replaced := newKeyState(next, s.before)
	replaced.saved, replaced.from = false, h.doc.Key
	if !h.saved {
		replaced.from = h.from
	}
	if err := s.saveNew(ctx, replaced); known || err != nil || !s.still(replaced) {
		return err
	}
	info, err := s.client.TokenInfo(withKey(ctx, esper.NewSecret(next.Key)))
	if err != nil {
		return nil //nolint:nilerr // the end is assumed, and told by the next renewal at the latest
	}
	next.learn(info)
	return s.saveJournal(ctx, s.current.Load().with(next, s.before))
}

// check asks whether the key still works, after something that makes that doubtful. It returns an
// error that is ErrKeyLost if it is refused and the store has no other, and any other if that cannot
// be told now. If the store has another, that is in use afterwards.
func (s *Source) check(ctx context.Context, h *keyState, why string) error {
	_, err := s.client.TokenInfo(withKey(ctx, esper.NewSecret(h.doc.Key)))
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, esper.ErrUnauthorized):
		return fmt.Errorf("renew: cannot tell whether the key still works (%s): %w", why, err)
	}
	doc, found, loadErr := s.load(ctx)
	if loadErr == nil && found && doc.Key != h.doc.Key && doc.Key != h.from {
		s.adopt(h, doc)
		return nil
	}
	if rescueErr := s.rescue(ctx, h); rescueErr != nil || !s.still(h) {
		return rescueErr
	}
	about := why
	if a := h.doc.Attempt; a != nil {
		about += fmt.Sprintf("; begun at %s by process %d on %s", a.StartedAt.Format(time.RFC3339), a.PID, a.Host)
		if a.Answer != "" || a.AnswerBase64 != nil {
			about += "; the answer, which may hold its successor, is in the journal in " + s.storeName()
		}
	}
	if now := time.Now(); !now.Before(h.doc.ExpiresAt) {
		about += "; it expired at " + h.doc.ExpiresAt.Format(time.RFC3339)
	}
	return fmt.Errorf("%w: at %s the server refused it (%s); make a new key in the Esper Console, move %s away and start with the new key: %w",
		ErrKeyLost, wallClock().Format(time.RFC3339), about, s.storeName(), err)
}
