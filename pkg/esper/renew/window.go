package renew

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/oauth2"
)

const (
	advisoryPart    = 5                  // the advisory window is a fifth of the lifetime,
	advisoryLeast   = 24 * time.Hour     // but no shorter than this where the lifetime allows
	mandatoryMost   = 5 * time.Minute    // the mandatory window, or a twentieth of the lifetime if that is less
	assumedLifetime = 7 * 24 * time.Hour // of a key whose end the server does not tell
	pause           = 10 * time.Minute   // after an attempt whose outcome is unknown, before the next
	stepTime        = 2 * time.Minute    // that one step, the wait for the lock included, may take
	postTime        = 75 * time.Second   // of these, for the renewal itself
	saveTime        = 15 * time.Second   // for saving, even if the step's time is over
	pollTime        = time.Minute        // between looks at the store for another process's renewal
	doubtTime       = 30 * time.Second   // between questions to the server after a 401
	failMin         = 30 * time.Second   // first wait after a failure
	failMax         = time.Hour          // longest
)

// held is the key in use. It is replaced, never changed.
type held struct {
	token *oauth2.Token
	doc   document
	saved bool      // the store has doc
	from  string    // not saved: the key that this one replaces
	lost  error     // terminal: the key is refused and no other is known
	check time.Time // the attempt, by its start, after which the key was found to work

	advisory  time.Time // from here on a renewal is tried in the background
	mandatory time.Time // from here on callers wait for it
	next      time.Time // before this, nothing is done
	hot       time.Time // before this, callers get token at once
	fails     int       // attempts in a row
}

// newHeld works out when a key is to be renewed; before is WithRenewBefore, 0 for the default.
func newHeld(doc document, before time.Duration) *held {
	h := &held{token: &oauth2.Token{AccessToken: doc.Key, TokenType: "Bearer", Expiry: doc.ExpiresAt}, doc: doc, saved: true}
	lifetime := max(0, doc.ExpiresAt.Sub(doc.IssuedAt))
	if before == 0 {
		before = max(lifetime/advisoryPart, min(advisoryLeast, lifetime/2))
	}
	before = min(before, lifetime/2)
	if before > 0 {
		before += rand.N(before/4 + 1) //nolint:gosec // spreads a fleet, decides nothing secret
	}
	h.advisory = doc.ExpiresAt.Add(-before)
	h.mandatory = doc.ExpiresAt.Add(-min(mandatoryMost, lifetime/20))
	if !doc.RenewedAt.IsZero() {
		gap := failMax
		if lifetime > 0 {
			gap = lifetime / 10
		}
		// A key that is due as soon as it is made: the clock is wrong, or the server. Serve it, slowly.
		h.advisory = later(h.advisory, doc.RenewedAt.Add(gap))
		h.mandatory = later(h.mandatory, h.advisory)
	}
	return h
}

// with returns h with what the journal says.
func (h *held) with(doc document) *held {
	out := *h
	out.doc = doc
	return &out
}

// pending reports whether an attempt's end is unknown, and it is time to ask what became of it: at
// once, and again before the next attempt.
func (h *held) pending(now time.Time) bool {
	a := h.doc.Attempt
	return a != nil && (!a.StartedAt.Equal(h.check) || !now.Before(h.advisory) && !now.Before(h.pauseEnd()))
}

// looked returns h with the attempt found to have left the key as it was.
func (h *held) looked() *held {
	out := *h
	out.check = h.doc.Attempt.StartedAt
	return &out
}

// pauseEnd is when an attempt of unknown outcome cannot be under way any more.
func (h *held) pauseEnd() time.Time {
	if h.doc.Attempt == nil {
		return time.Time{}
	}
	return h.doc.Attempt.StartedAt.Add(pause)
}

// nextAttempt is when something may be sent next; next itself may be just a look at the store.
func (h *held) nextAttempt() time.Time {
	if h.fails > 0 {
		return h.next
	}
	return later(later(h.advisory, h.pauseEnd()), h.next)
}

// usable reports whether callers may have the key.
func (h *held) usable(now time.Time) bool {
	return h.lost == nil && (now.Before(h.doc.ExpiresAt) || now.Before(h.mandatory))
}

// wake returns h with its next action after a good look at the store.
func (h *held) wake(now time.Time) *held {
	out := *h
	out.next, out.fails = earlier(later(h.advisory, h.pauseEnd()), now.Add(pollTime)).Round(0), 0
	return &out
}

// failed returns h with its next action after a failure: exponential, with jitter, never so late
// that the key ends meanwhile without another attempt.
func (h *held) failed(now time.Time, least time.Duration) *held {
	out := *h
	out.fails++
	waits := backoff.ExponentialBackOff{InitialInterval: failMin, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: failMax}
	var wait time.Duration
	for range min(out.fails, 10) {
		wait = waits.NextBackOff()
	}
	if left := h.doc.ExpiresAt.Sub(now); left > 0 {
		wait = min(wait, max(left/4, time.Second))
	}
	out.next = later(now.Add(max(wait, least)).Round(0), h.pauseEnd())
	return &out
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
