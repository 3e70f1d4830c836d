package ways

import (
	"fmt"
	"strconv"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// unit is the unit in which the expiry_at of a personal access token counts the time since 1970. Esper does not document
// it. 0 is for a token that never ends.
type unit time.Duration

const (
	noExpiry    = -1                         // the expiry_at of a token that never ends
	longestLife = 100 * 365 * 24 * time.Hour // the longest lifetime of a key that ends
)

// never is the end that a document holds for a key that never ends: the latest time that it can hold.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) //nolint:gochecknoglobals // a constant

// unitOf finds the unit of expiry, the expiry_at of a key that works and that ends at ends. If ends is zero, which means
// unknown, it is the first unit in which the key ends within the next hundred years.
func unitOf(expiry string, ends, now time.Time) (unit, error) {
	if expiry == strconv.Itoa(noExpiry) {
		if !ends.IsZero() && ends.Before(never) {
			return 0, fmt.Errorf("%w: it ends, and its personal access token does not, so the unit of expiry_at cannot be told", ErrNotRenewable)
		}
		return 0, nil
	}
	for _, u := range []unit{unit(time.Second), unit(time.Millisecond), unit(time.Microsecond), unit(time.Nanosecond)} {
		at, ok := u.moment(expiry)
		switch {
		case !ok:
		case !ends.IsZero() && at.Sub(ends).Abs() <= policy.Skew, ends.IsZero() && at.After(now.Add(-policy.Skew)) && at.Before(now.Add(longestLife)):
			return u, nil
		}
	}
	return 0, fmt.Errorf("%w: the unit of its personal access token's expiry_at cannot be told: in none does it agree with the end of the key", ErrNotRenewable)
}

// moment returns the time for which expiry, an expiry_at, stands. ok is false if expiry cannot be read.
func (u unit) moment(expiry string) (at time.Time, ok bool) {
	n, err := strconv.ParseInt(expiry, 10, 64)
	switch {
	case err == nil && n == noExpiry:
		return never, true
	case err != nil || n <= 0 || u == 0:
		return time.Time{}, false
	}
	aSecond := int64(time.Second) / int64(u)
	return Fits(time.Unix(n/aSecond, n%aSecond*int64(u))), true
}

// lifetime is how long the key after d's is to live: as long as wanted or, if that is 0, as long as d's key.
func (t personalToken) lifetime(d policy.Document, wanted time.Duration) time.Duration {
	for _, l := range []time.Duration{wanted, d.ExpiresAt.Sub(d.IssuedAt), t.life} {
		if l > 0 {
			return min(l, longestLife)
		}
	}
	return policy.AssumedLifetime
}

// next is the expiry_at of a key that is made now and lives for lifetime.
func (t personalToken) next(lifetime time.Duration, now time.Time) int64 {
	if t.unit == 0 {
		return noExpiry
	}
	at := now.Add(lifetime + time.Duration(t.unit) - 1) // rounded up, so that repeated renewals do not shorten the lifetime
	aSecond := int64(time.Second) / int64(t.unit)
	return at.Unix()*aSecond + int64(at.Nanosecond())/int64(t.unit)
}
