package renew

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// spread makes many sources of one key and returns the earliest and the latest of their windows.
func spread(doc document, before time.Duration) (first, last *keyState) {
	for range 2000 {
		h := newKeyState(doc, before)
		if first == nil || h.advisory.Before(first.advisory) {
			first = h
		}
		if last == nil || h.advisory.After(last.advisory) {
			last = h
		}
	}
	return first, last
}

func TestWindows(t *testing.T) {
	now := time.Now().UTC()
	for _, test := range []struct {
		lifetime, before   time.Duration
		advisory, earliest time.Duration // before the end, at the latest and at the earliest
		mandatory          time.Duration
	}{
		{90 * day, 0, 18 * day, 22*day + 12*time.Hour, 5 * time.Minute},
		{1000 * day, 0, 200 * day, 250 * day, 5 * time.Minute},
		{4 * day, 0, day, 30 * time.Hour, 5 * time.Minute},                                      // a fifth would be less than a day
		{day, 0, 12 * time.Hour, 15 * time.Hour, 5 * time.Minute},                               // a day would be all of it
		{time.Hour, 0, 30 * time.Minute, 2250 * time.Second, 3 * time.Minute},                   // a twentieth
		{10 * time.Second, 0, 5 * time.Second, 6250 * time.Millisecond, 500 * time.Millisecond}, //
		{90 * day, 2 * day, 2 * day, 60 * time.Hour, 5 * time.Minute},                           // WithRenewBefore
		{90 * day, time.Second, time.Second, 1250 * time.Millisecond, 5 * time.Minute},          // within the mandatory window
		{90 * day, 89 * day, 45 * day, 56*day + 6*time.Hour, 5 * time.Minute},                   // half the lifetime is the most
		{time.Second, 0, 500 * time.Millisecond, 625 * time.Millisecond, 50 * time.Millisecond}, //
	} {
		doc := document{Key: "k", IssuedAt: now, ExpiresAt: now.Add(test.lifetime)}
		first, last := spread(doc, test.before)
		earliest, latest := doc.ExpiresAt.Sub(first.advisory), doc.ExpiresAt.Sub(last.advisory)
		slack := (test.earliest - test.advisory) / 20
		if latest < test.advisory || latest > test.advisory+slack || earliest > test.earliest || earliest < test.earliest-slack {
			t.Errorf("%v, %v: the renewal begins %v to %v before the end, want %v to %v", test.lifetime, test.before, earliest, latest, test.earliest, test.advisory)
		}
		if m := doc.ExpiresAt.Sub(last.mandatory); m != test.mandatory {
			t.Errorf("%v: callers wait from %v before the end, want %v", test.lifetime, m, test.mandatory)
		}
	}
}

// renewFor asks for the key once a step for a time, and returns the renewals in it.
func renewFor(t *testing.T, server *stub, source *Source, total, step time.Duration) int {
	t.Helper()
	before := server.counted("renew")
	for end := time.Now().Add(total); time.Now().Before(end); time.Sleep(step) {
		_, _ = source.Token()
		synctest.Wait()
	}
	return server.counted("renew") - before
}

// TestServerWithStrangeExpiry counts the renewals of a week, with a call every ten seconds.
func TestServerWithStrangeExpiry(t *testing.T) {
	fixed := time.Date(2000, 1, 4, 0, 0, 0, 0, time.UTC) // half-way through the week
	for _, test := range []struct {
		name string
		body func(key string, created, expires time.Time) string
		info func(key string, created, expires time.Time) string
		most int
	}{
		{"expired before it was made", func(k string, c, _ time.Time) string { return renewalBody(k, c, c.Add(-day)) }, nil, 7*24 + 1},
		{"expired when it was made", func(k string, c, _ time.Time) string { return renewalBody(k, c, c) }, nil, 7*24 + 1},
		{"expired long ago", func(k string, _, _ time.Time) string { return renewalBody(k, time.Unix(0, 0), time.Unix(1, 0)) }, nil, 7*24 + 1},
		{"the same expiry always", func(k string, c, _ time.Time) string { return renewalBody(k, c, fixed) }, nil, 7*24 + 30},
		{"no expiry", func(k string, c, _ time.Time) string { return renewalBody(k, c, time.Time{}) }, nil, 1},
		{"garbage", func(k string, _, _ time.Time) string {
			return `{"token": "` + k + `", "expires_at": "soon", "created_on": {}}`
		}, nil, 1},
		{
			"nothing anywhere", func(k string, _, _ time.Time) string { return `{"token": "` + k + `"}` },
			func(string, time.Time, time.Time) string { return `{}` }, 2,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			server.body, server.info = test.body, test.info
			put(t, store, document{IssuedAt: wallClock().Add(-89 * day), ExpiresAt: wallClock().Add(day)})
			source := opened(t, server, store)
			n := renewFor(t, server, source, 7*day, 10*time.Second)
			if n < 1 || n > test.most {
				t.Errorf("%s: %d renewals in a week, want 1 to %d", test.name, n, test.most)
			}
			t.Logf("%s: %d renewals in a week", test.name, n)
			token, err := source.Token()
			if err != nil || !server.valid(token.AccessToken) {
				t.Errorf("%s: after a week %v", test.name, err)
			}
		})
	}
}

func TestExpiryFromTokenInfo(t *testing.T) {
	for name, body := range map[string]func(k string, c, e time.Time) string{
		"missing":    func(k string, _, _ time.Time) string { return `{"token": "` + k + `"}` },
		"null":       func(k string, c, _ time.Time) string { return renewalBody(k, c, time.Time{}) },
		"unreadable": func(k string, _, _ time.Time) string { return `{"token": "` + k + `", "expires_at": "in a while"}` },
		"cut short":  func(k string, _, _ time.Time) string { return `{"token": "` + k + `", "expires_` },
	} {
		for _, infoFails := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), Memory()
				server.body = body
				source := opened(t, server, store)
				if infoFails {
					server.fault = only("info", func(func() *http.Response) (*http.Response, error) { return reply(404, ""), nil })
				}
				time.Sleep(90*day - time.Minute)
				wantKey(t, source, "key-1")
				want := 90 * day
				if infoFails {
					want = assumedLifetime
				}
				for what, got := range map[string]time.Time{"Status": source.Status().ExpiresAt, "stored": stored(t, store).ExpiresAt} {
					if d := time.Until(got); d.Round(time.Minute) != want {
						t.Errorf("%s, TokenInfo fails %v: %s ends in %v, want %v", name, infoFails, what, d, want)
					}
				}
			})
		}
	}
}

func TestClockOff(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour, -60 * day, 60 * day, -100 * day, 100 * day} {
		for _, lifetime := range []time.Duration{90 * day, 90 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(lifetime), Memory()
				server.ahead = off
				server.revoke(stubFirst)
				source := opened(t, server, store)
				bad := 0
				for range 7 * 24 * 12 { // a week
					if !works(server, source) {
						bad++
					}
					time.Sleep(5 * time.Minute)
				}
				n, most := server.counted("renew"), 7*24*6
				if lifetime == 90*day {
					most = 7*24 + 1 // the clock says that each key has ended: once an hour
				}
				t.Logf("off by %v, keys of %v: %d renewals in a week, %d times no valid key", off, lifetime, n, bad)
				if n > most {
					t.Errorf("off by %v, keys of %v: %d renewals in a week, want at most %d", off, lifetime, n, most)
				}
				if bad > 0 && (off.Abs() == time.Hour || lifetime == 90*day) {
					t.Errorf("off by %v, keys of %v: %d times no valid key: %v", off, lifetime, bad, source.Status().LastError)
				}
			})
		}
	}
}

// TestClockSetRight begins with what a wrong clock left behind.
func TestClockSetRight(t *testing.T) {
	for _, off := range []time.Duration{-100 * day, -60 * day, -time.Hour, time.Hour, 60 * day, 100 * day} {
		for _, attempted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), Memory()
				then := wallClock().Add(off) // when the key was made, by the clock of that time
				d := document{IssuedAt: then, ExpiresAt: wallClock().Add(90 * day), RenewedAt: then}
				if attempted {
					d.Attempt = &attempt{StartedAt: then}
				}
				put(t, store, d)
				source := opened(t, server, store)
				for range 200 * 24 {
					if !works(server, source) {
						t.Fatalf("off by %v: %v: %v", off, time.Now(), source.Status().LastError)
					}
					time.Sleep(time.Hour)
				}
				if n := server.counted("renew"); n < 2 || n > 4 {
					t.Errorf("off by %v: %d renewals in 200 days, want 2 to 4", off, n)
				}
			})
		}
	}
}

// TestClockSetBack works on a state from before the clock was set back, which a bubble cannot do.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source := opened(t, server, store)
		future := time.Now().Add(100 * day)
		h := *source.current.Load()
		h.made, h.retry, h.next, h.fails = future, future.Add(time.Minute), future, 3
		h.hotFrom, h.hotFor = future.UnixNano(), uint64(time.Minute)
		h.advisory, h.mandatory = future.Add(time.Hour), future.Add(time.Hour)
		source.current.Store(&h)
		wantKey(t, source, stubFirst)
		synctest.Wait()
		if at := source.Status().NextAttempt; at.After(time.Now().Add(72 * day)) {
			t.Errorf("the next renewal waits until %v", at)
		}
		if err := fmt.Sprint(source.Status().LastError); !strings.Contains(err, "nil") {
			t.Error(err)
		}
	})
}
