package policy

import "time"

const (
	advisoryPart    = 5                  // the advisory window is a fifth of the lifetime,
	advisoryLeast   = 24 * time.Hour     // but no shorter than this where the lifetime allows
	mandatoryMost   = 5 * time.Minute    // the mandatory window, or a twentieth of the lifetime if that is less
	AssumedLifetime = 7 * 24 * time.Hour // of a key whose end the server does not tell
	minInterval     = time.Second        // at least, from one renewal to the next
	Skew            = 25 * time.Hour     // by which a clock may be off because of a wrong time zone; beyond, it is plainly wrong

	longestAttempt  = 90 * time.Second // from the begin of an attempt to its end
	shortestAttempt = 10 * time.Second // with less, none is begun
	Margin          = 5 * time.Second  // the request ends this long before the attempt, and others wait this long after it
	oldAttempt      = 10 * time.Minute // an attempt that is older when a process starts needs no wait
	secondCheck     = time.Minute      // from the first refusal of a key to the check that may give it up
	suspectInterval = 30 * time.Second // from one check after a 401 to the next

	failMin      = 30 * time.Second // the first pause after a failure
	failMax      = time.Hour        // the longest
	forbiddenMax = 24 * time.Hour   // the longest after 403, which does not pass by itself
	unsavedMin   = time.Second      // the first pause while the only copy of a key is in memory
	unsavedMax   = 30 * time.Second // the longest
	nearEnd      = 10 * time.Second // most renewals have ended by then
	patience     = 75 * time.Second // for saving a new key, from the moment that it arrives
)

// windows works out when Doc's key is to be renewed. Before is how long before its end, 0 for the
// default; random, in [0, 1), spreads the processes that share a key.
func (s *State) windows(now time.Time, random float64) {
	now = now.Round(0) // the wall clock's alone, which goes on while the machine sleeps
	d := s.Doc
	issued, expires := d.IssuedAt, d.ExpiresAt
	if expires.IsZero() {
		if issued.IsZero() || issued.After(now) {
			issued = now
		}
		expires = issued.Add(AssumedLifetime)
	}
	renewed := !d.RenewedAt.IsZero()
	lifetime := expires.Sub(issued)
	gap := max(lifetime/10, minInterval)
	s.Made, s.End = now, expires
	if issued.IsZero() || lifetime <= 0 { // nonsense: a clock was wrong
		lifetime, gap = AssumedLifetime, failMax
	} else { // a clock that is behind the server's must not see the key end late
		s.End = earlier(s.End, now.Add(lifetime))
		if renewed {
			s.End = earlier(s.End, d.RenewedAt.Add(lifetime))
		}
	}
	before := s.Before
	if before == 0 {
		before = max(lifetime/advisoryPart, advisoryLeast) // no more than half, see below
	}
	before = min(before, lifetime/2)
	before += time.Duration(random * float64(before/4))
	s.Advisory = s.End.Add(-before)
	s.Part = lifetime / 20
	s.Mandatory = s.End.Add(-min(mandatoryMost, s.Part))
	if renewed && d.RenewedAt.Before(now.Add(Skew)) {
		// A key that is due as soon as it is made: the clock is wrong, or the server. Serve it, slowly.
		s.Advisory = later(s.Advisory, d.RenewedAt.Add(gap))
		s.Mandatory = later(s.Mandatory, s.Advisory)
	}
}

// setBack reports whether the clock was set back, by more than a time zone, since the windows were worked out.
func (s State) setBack(now time.Time) bool { return now.Before(s.Made.Add(-Skew)) }

// AttemptLength is how long an attempt that begins now may take: a quarter of what is left of the key, and
// a twentieth of its lifetime, so that there is time for more after one without an answer. 0: too little is
// left.
func (s State) AttemptLength(now time.Time) time.Duration {
	left := s.End.Sub(now)
	if left <= 0 && s.PastEnd {
		return longestAttempt // the server accepts the key after its end, so the clock is wrong
	}
	if left/4 < shortestAttempt {
		return 0
	}
	return max(min(longestAttempt, left/4, s.Part), shortestAttempt)
}

// pause is how long nothing is sent after s.Fails failures in a row: exponential, and never so long that
// the key ends without many more tries.
func (s State) pause(now time.Time, o Outcome) time.Duration {
	first, longest := failMin, failMax
	switch {
	case !s.Saved() && !s.ReadOnly && !s.Lost:
		first, longest = unsavedMin, unsavedMax
	case o.Forbidden:
		longest = forbiddenMax
	}
	d := min(first<<min(s.Fails, 16), longest)
	d = time.Duration((0.5 + o.Random) * float64(d))
	if left := s.End.Sub(now); left > 0 {
		d = min(d, max(min(left/4, s.Part), time.Second))
	}
	return max(d, min(o.RetryAfter, failMax))
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

// Poll is the longest time from one look at the store to the next, for what other processes saved there. It is
// at least half of it, at random: many processes that begin together, or have all just seen a new key, do not
// come together again.
const Poll = time.Minute

// Due reports whether a turn would do more than look at the store.
func (s State) Due(now time.Time) bool {
	return !now.Before(s.Retry) && (s.unsaved() || s.owed() || s.doubtful(now) || !s.ReadOnly && s.due(Turn{}, now))
}

// Next is when to have the next turn, after one that ended at now. Random is from 0 to 1.
func (s State) Next(now time.Time, random float64) time.Time {
	// From one look at another process's renewal to the next, while its end is near, and after that.
	const soon, calm = 200 * time.Millisecond, 5 * time.Second
	next := now.Add(Poll/2 + time.Duration(random*float64(Poll/2)))
	switch {
	case now.Before(s.Retry):
		return earlier(next, s.Retry)
	case s.Awaits(now) && s.due(Turn{}, now):
		return now.Add(soon)
	case s.Busy(now) && s.due(Turn{}, now):
		next = now.Add(calm)
	}
	for _, at := range []time.Time{s.Advisory, s.Quiet, s.RefusedWait, s.End} {
		if at.After(now) {
			next = earlier(next, at)
		}
	}
	return next
}

// NextAttempt is when the next renewal may begin.
func (s State) NextAttempt() time.Time { return later(later(s.Advisory, s.Quiet), s.Retry) }
