package renew

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// renewFor asks for the key every step, for the time total, and returns the number of renewals in that time.
func renewFor(t *testing.T, server *stub, source *Source, total, step time.Duration) int {
	t.Helper()
	before := server.counted("renew")
	for end := time.Now().Add(total); time.Now().Before(end); time.Sleep(step) {
		_, _ = source.Token()
		synctest.Wait()
	}
	return server.counted("renew") - before
}

// TestServerWithStrangeExpiry has a server that sends impossible ends of keys. With a call every twenty minutes, the key
// works all the same, and is not renewed too often.
func TestServerWithStrangeExpiry(t *testing.T) {
	t.Parallel()
	fixed := time.Date(2000, 1, 4, 0, 0, 0, 0, time.UTC) // half-way through the week
	for _, test := range []struct {
		name string
		body func(key string, created, expires time.Time) string
		info func(key string, created, expires time.Time) string
		most int
	}{
		{"expired before it was made", func(k string, c, _ time.Time) string { return renewalBody(k, c, c.Add(-day)) }, nil, 1},
		{"expired when it was made", func(k string, c, _ time.Time) string { return renewalBody(k, c, c) }, nil, 1},
		{"expired long ago", func(k string, _, _ time.Time) string { return renewalBody(k, time.Unix(0, 0), time.Unix(1, 0)) }, nil, 1},
		{"the same expiry always", func(k string, c, _ time.Time) string { return renewalBody(k, c, fixed) }, nil, 14},
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
			put(t, store, policy.Document{IssuedAt: wallClock().Add(-89 * day), ExpiresAt: wallClock().Add(day)})
			source := opened(t, server, store)
			n := renewFor(t, server, source, 7*day, 20*time.Minute)
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
				time.Sleep(90*day - 4*time.Minute)
				wantKey(t, source, "key-1")
				want := 90 * day
				if infoFails && !viaTokens { // through tokens, the list says the end too
					want = policy.AssumedLifetime
				}
				for what, got := range map[string]time.Time{"Status": source.Status().ExpiresAt, "Token": tokenOf(source.now.Load().state).Expiry} {
					if d := time.Until(got); d.Round(time.Minute) != want {
						t.Errorf("%s, TokenInfo fails %v: %s ends in %v, want %v", name, infoFails, what, d, want)
					}
				}
			})
		}
	}
}

func TestClockOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, time.Hour, -60 * day, 60 * day, -100 * day, 100 * day} {
		for _, lifetime := range []time.Duration{90 * day, 90 * time.Minute} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(lifetime), Memory()
				server.ahead = off
				server.revoke(stubFirst)
				source := opened(t, server, store)
				bad := 0
				for range 2 * 24 * 4 { // two days
					if !works(server, source) {
						bad++
					}
					time.Sleep(15 * time.Minute)
				}
				n, most := server.counted("renew"), 2*24*6
				if lifetime == 90*day {
					most = 2*24 + 1 // by this clock each key has ended, so it is renewed once an hour
				}
				t.Logf("off by %v, keys of %v: %d renewals in two days, %d times no valid key", off, lifetime, n, bad)
				if n > most {
					t.Errorf("off by %v, keys of %v: %d renewals in two days, want at most %d", off, lifetime, n, most)
				}
				if bad > 0 && (off.Abs() == time.Hour || lifetime == 90*day) {
					t.Errorf("off by %v, keys of %v: %d times no valid key: %v", off, lifetime, bad, source.Status().LastError)
				}
			})
		}
	}
}

// TestClockSetRight starts with a document that was saved while the clock was wrong.
func TestClockSetRight(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-100 * day, -60 * day, -time.Hour, time.Hour, 60 * day, 100 * day} {
		for _, attempted := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), Memory()
				then := wallClock().Add(off) // when the key was made, by the clock of that time
				d := policy.Document{IssuedAt: then, ExpiresAt: wallClock().Add(90 * day), RenewedAt: then}
				if attempted {
					d.Attempt = policy.Attempt{ID: "x.1", Begun: then, Until: then.Add(90 * time.Second)}
				}
				put(t, store, d)
				source := opened(t, server, store)
				for range 200 * 2 {
					if !works(server, source) {
						t.Fatalf("off by %v: no valid key at %v: %v", off, time.Now(), source.Status().LastError)
					}
					time.Sleep(12 * time.Hour)
				}
				if n := server.counted("renew"); n < 2 || n > 4 {
					t.Errorf("off by %v: %d renewals in 200 days, want 2 to 4", off, n)
				}
			})
		}
	}
}
