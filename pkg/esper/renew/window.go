package renew

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/oauth2"
)

const (
	advisoryPart     = 5                  // the advisory window is a fifth of the lifetime,
	advisoryLeast    = 24 * time.Hour     // but no shorter than this where the lifetime allows
	mandatoryMost    = 5 * time.Minute    // the mandatory window, or a twentieth of the lifetime if that is less
	assumedLifetime  = 7 * 24 * time.Hour // of a key whose end the server does not tell
	pause            = 10 * time.Minute   // after an attempt whose outcome is unknown, before the next
	stepTime         = 2 * time.Minute    // that the wait for the store's lock may take
	holdTime         = 2 * time.Minute    // that the lock is held, the last saving apart
	postTime         = 75 * time.Second   // of these, for the renewal itself
	saveTime         = 15 * time.Second   // for saving, even if the step's time is over
	pollTime         = time.Minute        // between looks at the store for another process's renewal
	doubtTime        = 30 * time.Second   // between questions to the server after a 401
	failMin          = 30 * time.Second   // first wait after a failure
	failMax          = time.Hour          // longest
	minRenewInterval = time.Second        // at least, from one renewal to the next
	skew             = 25 * time.Hour     // that a clock may be off by a wrong time zone; beyond, it is plainly wrong
)

// keyState is the key in use. It is replaced, never changed.
type keyState struct {
	token  *oauth2.Token
	doc    document
	saved  bool      // the store has the key
	from   string    // not saved: the key that this one replaces
	owed   bool      // the store lacks doc.Attempt, or the answer in it
	lost   error     // terminal: the key is refused and no other is known
	unsure bool      // an attempt of a process before this one has not been looked into
	check  time.Time // the attempt, by its start, after which the key was found to work

	made      time.Time // when the windows were worked out
	advisory  time.Time // from here on a renewal is tried in the background
	mandatory time.Time // from here on callers wait for it
	end       time.Time // of the key, by this clock
	retry     time.Time // after a failure, nothing is sent before this
	next      time.Time // when to look at the store again, and do what is due
	fails     int       // attempts in a row

	// Callers get token at once from hotFrom, when this was taken into use, for hotFor: Unix
	// nanoseconds, compared as unsigned so that a clock that is set back ends it too.
	hotFrom int64
	hotFor  uint64
}

// newHeld works out when a key is to be renewed; before is WithRenewBefore, 0 for the default.
func newKeyState(doc document, before time.Duration) *keyState {
	h := &keyState{
		token: &oauth2.Token{AccessToken: doc.Key, TokenType: "Bearer", Expiry: doc.ExpiresAt},
		doc:   doc, saved: true, made: wallClock(), end: doc.ExpiresAt,
	}
	renewed := !doc.RenewedAt.IsZero()
	lifetime := doc.ExpiresAt.Sub(doc.IssuedAt)
	gap := max(lifetime/10, minRenewInterval)
	if lifetime <= 0 { // nonsense: a clock was wrong
		lifetime, gap = assumedLifetime, failMax
	} else { // a clock that is behind the server's must not see the key end late
		h.end = earlier(h.end, h.made.Add(lifetime))
		if renewed {
			h.end = earlier(h.end, doc.RenewedAt.Add(lifetime))
		}
	}
	if before == 0 {
		before = max(lifetime/advisoryPart, advisoryLeast) // no more than half, see below
	}
	before = min(before, lifetime/2)
	if before > 0 {
		before += rand.N(before/4 + 1) //nolint:gosec // spreads a fleet, decides nothing secret
	}
	h.advisory = h.end.Add(-before)
	h.mandatory = h.end.Add(-min(mandatoryMost, lifetime/20))
	if renewed && doc.RenewedAt.Before(h.made.Add(skew)) {
		// A key that is due as soon as it is made: the clock is wrong, or the server. Serve it, slowly.
		h.advisory = later(h.advisory, doc.RenewedAt.Add(gap))
		h.mandatory = later(h.mandatory, h.advisory)
	}
	return h
}

// with returns h with what the store says of the same key.
func (h *keyState) with(doc document, before time.Duration) *keyState {
	out := *h
	setBack := wallClock().Before(h.made.Add(-skew))
	if setBack || !doc.ExpiresAt.Equal(h.doc.ExpiresAt) || !doc.IssuedAt.Equal(h.doc.IssuedAt) {
		fresh := newKeyState(doc, before)
		out.token, out.made, out.advisory, out.mandatory, out.end = fresh.token, fresh.made, fresh.advisory, fresh.mandatory, fresh.end
	}
	out.doc = doc
	return &out
}

// noting returns h with another journal.
func (h *keyState) noting(a *attempt) *keyState {
	out := *h
	out.doc.Attempt = a
	return &out
}

// pending reports whether an attempt's end is unknown, and it is time to ask what became of it: at
// once, and again before the next attempt.
func (h *keyState) pending(now time.Time) bool {
	a := h.doc.Attempt
	return a != nil && (!a.StartedAt.Equal(h.check) || !now.Before(h.advisory) && !now.Before(h.pauseEnd(now)))
}

// looked returns h with the attempt found to have left the key as it was.
func (h *keyState) looked() *keyState {
	out := *h
	out.check = h.doc.Attempt.StartedAt
	return &out
}

// pauseEnd is when an attempt of unknown outcome cannot be under way any more. One that is yet to
// begin is from a time when a clock was wrong.
func (h *keyState) pauseEnd(now time.Time) time.Time {
	a := h.doc.Attempt
	if a == nil || a.StartedAt.After(now.Add(skew)) {
		return time.Time{}
	}
	return a.StartedAt.Add(pause)
}

// waiting reports whether a failure still keeps things from being sent. The clock may have been
// set back since.
func (h *keyState) waiting(now time.Time) bool {
	return h.lost != nil || now.Before(h.retry) && h.retry.Sub(now) <= 2*failMax
}

// nextAttempt is when something may be sent next; next itself may be just a look at the store.
func (h *keyState) nextAttempt(now time.Time) time.Time {
	if h.fails > 0 {
		return h.retry
	}
	return later(h.advisory, h.pauseEnd(now))
}

// due reports whether it is time to look at the store, and perhaps to renew.
func (h *keyState) due(now time.Time) bool {
	return !now.Before(h.next) || now.UnixNano() < h.hotFrom // the clock was set back
}

// usable reports whether callers may have the key.
func (h *keyState) usable(now time.Time) bool {
	return h.lost == nil && (now.Before(h.end) || now.Before(h.mandatory))
}

// wake returns h with its next action after a good look at the store.
func (h *keyState) wake(now time.Time) *keyState {
	out := *h
	out.retry, out.fails, out.unsure = time.Time{}, 0, false
	out.next = earlier(out.nextAttempt(now), now.Add(pollTime)).Round(0)
	return &out
}

// asleep returns h with its next action after a look at the store while a failure's wait lasts.
func (h *keyState) asleep(now time.Time) *keyState {
	out := *h
	out.next = now.Add(pollTime).Round(0)
	if h.lost == nil {
		out.next = earlier(h.retry, out.next)
	}
	return &out
}

// failed returns h with its next action after a failure: exponential, with jitter, never so late
// that the key ends meanwhile without another attempt.
func (h *keyState) failed(now time.Time, least time.Duration) *keyState {
	out := *h
	out.fails++
	out.unsure = false
	waits := backoff.ExponentialBackOff{InitialInterval: failMin, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: failMax}
	var wait time.Duration
	for range min(out.fails, 10) {
		wait = waits.NextBackOff()
	}
	if left := h.end.Sub(now); left > 0 {
		wait = min(wait, max(left/4, time.Second))
	}
	out.retry = now.Add(max(wait, least)).Round(0)
	if p := h.pauseEnd(now); now.Before(p) {
		out.retry = later(out.retry, p)
	}
	return out.asleep(now)
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
