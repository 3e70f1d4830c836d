package policy

import (
	"cmp"
	"slices"
	"time"
)

const (
	advisoryPart    = 5                  // the advisory window is a fifth of the lifetime,
	advisoryLeast   = 24 * time.Hour     // but no shorter than this where the lifetime allows
	mandatoryMost   = 5 * time.Minute    // the mandatory window, or a twentieth of the lifetime if that is less
	AssumedLifetime = 7 * 24 * time.Hour // how long a key lives if the server does not say when it ends
	Skew            = 25 * time.Hour     // how far off a clock may be, as by a wrong time zone; if more, it is wrong

	longestAttempt   = 90 * time.Second // from the begin of an attempt to its end
	shortestAttempt  = 10 * time.Second // if there is less time, no attempt is begun
	Margin           = 5 * time.Second  // the request ends this long before the attempt, and others wait this long after it
	oldRefusal       = 12 * time.Hour   // a noted refusal that is older counts as the first one at once
	secondCheck      = time.Minute      // from the first refusal of a key to the check that may give it up
	suspectInterval  = 30 * time.Second // from one check after a 401 to the next
	completeInterval = 24 * time.Hour   // from one question about what a document lacks to the next
	distant          = 100 * 365 * 24 * time.Hour

	failMin      = 30 * time.Second // the first pause after a failure
	failMax      = time.Hour        // the longest pause
	forbiddenMax = 24 * time.Hour   // the longest pause after 403, which does not pass by itself
	lostMax      = 5 * time.Minute  // the longest pause while the key is lost
	unsavedMin   = time.Second      // the first pause while the only copy of a key is in memory
	unsavedMax   = 30 * time.Second // the longest such pause
	nearEnd      = 10 * time.Second // most renewals take no longer
	patience     = 75 * time.Second // how long a turn goes on trying to save a new key
	maxConflicts = 8                // in one turn; a store whose version changes by itself must not keep it busy for ever

	Poll = time.Minute            // the store is read after Poll/2 to Poll, at random, so that processes do not read together
	soon = 200 * time.Millisecond // the same while another process renews the key and should end any moment,
	calm = 5 * time.Second        // and after that
)

// windows works out when Doc's key is to be renewed: s.RenewBefore ahead of its end, or the default if that is 0.
// random, in [0, 1), gives the processes that share a key different times.
func (s *State) windows(now time.Time, random float64) {
	now = plain(now) // only the wall clock, which goes on while the machine sleeps
	issued, expires, renewed, lifetime := s.Doc.IssuedAt, s.Doc.ExpiresAt, s.Doc.RenewedAt, s.Doc.lifetime()
	s.WindowMade, s.End = now, expires
	if expires.IsZero() || !issued.IsZero() && issued.Before(expires) { // if this clock is behind, that is no later end
		s.End = earliest(now, cmp.Or(issued, now), cmp.Or(renewed, now)).Add(lifetime)
	}
	before := min(cmp.Or(s.RenewBefore, max(lifetime/advisoryPart, advisoryLeast)), lifetime/2)
	s.Advisory = s.End.Add(-before - time.Duration(random*float64(before/4)))
	if !renewed.IsZero() && renewed.Before(now.Add(Skew)) {
		// If a new key is due at once, this clock or the server's is wrong. Then keep some time between renewals.
		s.Advisory = latest(s.Advisory, renewed.Add(lifetime/10))
	}
}

// Mandatory is from when on callers wait for the renewal.
func (s State) Mandatory() time.Time {
	return latest(s.End.Add(-min(mandatoryMost, s.part())), s.Advisory)
}

// lifetime is how long Doc's key lives.
func (d Document) lifetime() time.Duration {
	if l := d.ExpiresAt.Sub(d.IssuedAt); l > 0 && !d.IssuedAt.IsZero() {
		return l
	}
	return AssumedLifetime // the server does not say, or the times cannot be true
}

// part is a twentieth of the key's lifetime, which limits attempts and pauses.
func (s State) part() time.Duration { return s.Doc.lifetime() / 20 }

func plain(t time.Time) time.Time { return t.UTC().Round(0) }

// AttemptLength is how long an attempt that begins now may take: no more than a quarter of what is left of
// the key, and than a twentieth of its lifetime, so that time remains for more attempts if this one gets no
// answer. 0: too little is left of the key for an attempt.
func (s State) AttemptLength(now time.Time) time.Duration {
	left := s.End.Sub(now)
	if left/4 < shortestAttempt {
		return 0
	}
	return max(min(longestAttempt, left/4, s.part()), shortestAttempt)
}

// pause is how long nothing is sent after a failure that follows s.Fails others. It grows exponentially, but
// leaves time for many more tries before the key ends. Only Retry-After can make it longer.
func (s State) pause(now time.Time, o Outcome) time.Duration {
	first, longest := failMin, failMax
	switch {
	case s.Unsaved():
		first, longest = unsavedMin, unsavedMax
	case o.Forbidden:
		longest = forbiddenMax
	}
	d := time.Duration((0.5 + o.Random) * float64(min(first<<min(s.Fails, 16), longest)))
	if left := s.End.Sub(now); left > 0 {
		d = min(d, max(min(left/4, s.part()), time.Second))
	}
	if s.Lost() {
		d = min(d, lostMax)
	}
	return max(d, min(o.RetryAfter, failMax))
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// Due reports whether a turn would do more than read the store.
func (s State) Due(now time.Time) bool {
	return !now.Before(s.Retry) && (s.owed() || s.doubtful(now) || !s.ReadOnly && s.due(Turn{}, now))
}

// Next is when to have the next turn, after one that ended at now. Random is from 0 to 1.
func (s State) Next(now time.Time, random float64) time.Time {
	next := now.Add(Poll/2 + time.Duration(random*float64(Poll/2)))
	switch {
	case now.Before(s.Retry):
		return earliest(next, s.Retry)
	case s.Awaits(now) && s.due(Turn{}, now):
		return now.Add(soon)
	case s.Busy(now) && s.due(Turn{}, now):
		next = now.Add(calm)
	}
	for _, at := range []time.Time{s.Advisory, s.AttemptOver, s.RefusedWait, s.AsideWait, s.End} {
		if at.After(now) {
			next = earliest(next, at)
		}
	}
	return next
}

// NextAttempt is when the next renewal may begin.
func (s State) NextAttempt() time.Time { return latest(s.Advisory, s.AttemptOver, s.Retry) }
