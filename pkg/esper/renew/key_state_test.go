package renew

import (
	"testing"
	"testing/synctest"
	"time"
)

// However often it failed, the next attempt comes before the key ends.
func TestWaitsAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := wallClock()
		for _, tc := range []struct{ left, least, most time.Duration }{
			{90 * day, failMax / 2, failMax * 3 / 2},
			{8 * time.Minute, 2 * time.Minute, 2 * time.Minute}, // a quarter
			{40 * time.Second, 10 * time.Second, 10 * time.Second},
			{2 * time.Second, time.Second, time.Second}, // not less
			{-time.Minute, failMax / 2, failMax * 3 / 2},
		} {
			h := newKeyState(document{Key: "k", IssuedAt: now.Add(-90 * day), ExpiresAt: now.Add(tc.left)}, 0)
			h.fails = 9
			out := h.failed(now, 0)
			if wait := out.retry.Sub(now); wait < tc.least || wait > tc.most {
				t.Errorf("%v before the end: the next attempt is in %v, want %v to %v", tc.left, wait, tc.least, tc.most)
			}
			if next := out.next.Sub(now); next != min(out.retry.Sub(now), pollTime) {
				t.Errorf("%v before the end: the next look is in %v, the next attempt in %v", tc.left, next, out.retry.Sub(now))
			}
			out.lost, out.retry = ErrKeyLost, time.Time{}
			if next := out.asleep(now).next.Sub(now); next != pollTime {
				t.Errorf("a lost key: the next look is in %v", next)
			}
		}
	})
}

// An attempt without an end is looked into at once, and again only when a renewal may begin.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := wallClock()
		for _, tc := range []struct {
			left, ago time.Duration
			looked    bool
			want      bool
		}{
			{89 * day, time.Minute, false, true},
			{89 * day, time.Minute, true, false},
			{89 * day, time.Hour, true, false},
			{day, time.Minute, true, false},
			{day, time.Hour, true, true},
		} {
			h := newKeyState(document{
				Key: "k", IssuedAt: now.Add(tc.left - 90*day), ExpiresAt: now.Add(tc.left),
				Attempt: &attempt{StartedAt: now.Add(-tc.ago)},
			}, 0)
			if tc.looked {
				h = h.looked()
			}
			if got := h.pending(now); got != tc.want {
				t.Errorf("%+v: %t", tc, got)
			}
		}
	})
}
