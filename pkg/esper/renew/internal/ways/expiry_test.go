package ways

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// Whatever the unit of expiry_at, the source finds it, and asks for a new key that lives exactly as long as it should, or
// a unit longer.
func TestUnits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	for _, u := range []unit{unit(time.Second), unit(time.Millisecond), unit(time.Microsecond), unit(time.Nanosecond)} {
		const life = 90 * 24 * time.Hour
		end := now.Add(life)
		expiry := strconv.FormatInt(end.UnixNano()/int64(u), 10)
		for _, known := range []time.Time{end, {}} {
			if got, err := unitOf(expiry, known, now); err != nil || got != u {
				t.Errorf("the unit of %s, if the key ends at %v: %v, %v, want %v", expiry, known, got, err, u)
			}
		}
		if _, err := unitOf(expiry, end.Add(policy.Skew+time.Minute), now); !errors.Is(err, ErrNotRenewable) {
			t.Errorf("the unit of %s, if the key ends later: %v, want ErrNotRenewable", expiry, err)
		}
		next := strconv.FormatInt(personalToken{unit: u}.next(life, now), 10)
		if at, ok := u.moment(next); !ok || at.Before(end) || at.Sub(end) >= time.Duration(u) {
			t.Errorf("in the unit %v, the next key ends at %v, want %v", u, at, end)
		}
	}
}
