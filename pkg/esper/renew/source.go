package renew

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/esper-go/esper-go/pkg/esper"
)

// ErrKeyLost means that the key is refused by the server and no other is known: it was replaced
// and the answer with its successor never arrived, or it has expired or was revoked. Nothing here
// can mend that. Make a new key in the Esper Console and begin with an empty store; the error's
// text says what happened and when.
var ErrKeyLost = errors.New("renew: the key is lost")

// ErrKeyExpired means that the key has ended and its renewal has not succeeded yet, for the reason
// that the error wraps. It goes away by itself when that does; [Status] has the next attempt.
var ErrKeyExpired = errors.New("renew: the key has expired")

// Source is a key that renews itself. It is an [oauth2.TokenSource] for esper.New, which asks it
// through TokenContext. All methods are safe for concurrent use. Make one with [Open].
//
// Do not wrap it in [oauth2.NewClient] or [oauth2.ReuseTokenSource]: they keep a key until it
// expires, and go on sending it after another process has replaced it. Use [Source.Transport].
type Source struct {
	client *esper.Client
	server *url.URL
	store  Store
	settings

	current atomic.Pointer[keyState]
	busy    atomic.Bool // a step is under way
	steps   singleflight.Group
	work    chan struct{} // full while somebody changes current
	doubted time.Time     // when a 401 was looked into last; guarded by work
	changed chan struct{} // tells Run to look at current again

	mu      sync.Mutex // guards what follows
	lastErr error
}

// Token is TokenContext without a limit of the caller's; the wait for a renewal is bounded all the
// same, by five minutes.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns the key in use. A valid key is returned at once: without a lock, an
// allocation or a look at the disk; if it is time for a renewal, that begins in the background.
// Within the last minutes of a key's life, and after it, the call waits for the renewal, no longer
// than ctx; the renewal goes on without it. So does the first call after a crash in the middle of a
// renewal, until it is known what became of that. The token is shared, do not change it.
//
// The errors are ctx's, [ErrKeyLost], and [ErrKeyExpired] with what kept the key from being renewed;
// until the next attempt is due (see [Status]) that is returned again at once.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	h := s.current.Load()
	now := time.Now()
	if uint64(now.UnixNano()-h.hotFrom) < h.hotFor { //nolint:gosec // wraps around on purpose
		return h.token, nil
	}
	return s.slow(ctx, h, now)
}

func (s *Source) slow(ctx context.Context, h *keyState, now time.Time) (*oauth2.Token, error) {
	due := h.due(now)
	if h.lost == nil && now.Before(h.mandatory) && !h.unsure {
		if due && !s.busy.Load() {
			s.step()
		}
		return h.token, nil
	}
	if due || s.busy.Load() {
		select {
		case <-s.step():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		h = s.current.Load()
	}
	if h.usable(time.Now()) {
		return h.token, nil
	}
	if h.lost != nil {
		return nil, h.lost
	}
	reason := s.lastError()
	switch {
	case reason == nil && h.doc.Attempt != nil:
		reason = h.unended()
	case reason == nil:
		reason = errors.New("nothing has been tried so far")
	}
	return nil, fmt.Errorf("%w: it ended at %s and is not renewed yet: %w", ErrKeyExpired, h.doc.ExpiresAt.Format(time.RFC3339), reason)
}

// step does what is due, once however many ask for it, and regardless of whether they go on
// waiting.
func (s *Source) step() <-chan singleflight.Result {
	return s.steps.DoChan("", func() (any, error) {
		s.busy.Store(true)
		defer s.busy.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), stepTime)
		defer cancel()
		s.advance(ctx)
		return nil, nil
	})
}

// Run renews the key in the background until ctx ends, and returns ctx's error, or [ErrKeyLost] as
// soon as that is so. Without it a renewal begins with the first call for the key after it is due,
// so a program that makes few calls needs Run, or calls Token from time to time.
func (s *Source) Run(ctx context.Context) error {
	for {
		h := s.current.Load()
		if h.lost != nil {
			return h.lost
		}
		// Timers stand still while a machine sleeps, so none runs for long.
		timer := time.NewTimer(min(time.Until(h.next), pollTime))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.changed:
			timer.Stop()
		case <-timer.C:
			if !s.current.Load().due(time.Now()) {
				continue
			}
			select {
			case <-s.step():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Status is what a health check or a metric needs to know. It holds no secret.
type Status struct {
	IssuedAt    time.Time // when the key in use was made
	ExpiresAt   time.Time // when it ends, or is assumed to
	RenewedAt   time.Time // when this store's key was renewed last; zero if never
	NextAttempt time.Time // when the next renewal may begin, or the next check after a failure
	Saved       bool      // the store holds the key in use; if not, it dies with the process
	LastError   error     // of the last attempt; nil after a success. ErrKeyLost is final
}

// Status returns the state of the key. It neither waits nor sends anything.
func (s *Source) Status() Status {
	h := s.current.Load()
	return Status{
		IssuedAt:    h.doc.IssuedAt,
		ExpiresAt:   h.doc.ExpiresAt,
		RenewedAt:   h.doc.RenewedAt,
		NextAttempt: h.nextAttempt(time.Now()),
		Saved:       h.saved,
		LastError:   s.lastError(),
	}
}

// report tells Status, the log and OnRenew.
func (s *Source) report(before *keyState, err error) {
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

func (s *Source) lastError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}
