package renew

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An answer that may hold the new key is kept, whatever its status.
func TestAnswerIsKept(t *testing.T) {
	for name, answer := range map[string]func(body string) (*http.Response, error){
		"500":            func(body string) (*http.Response, error) { return reply(500, body), nil },
		"504":            func(body string) (*http.Response, error) { return reply(504, body), nil },
		"408":            func(body string) (*http.Response, error) { return reply(408, body), nil },
		"302":            func(body string) (*http.Response, error) { return reply(302, body), nil },
		"201, cut short": func(body string) (*http.Response, error) { return reply(201, `["`+body), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			server.keepOld = true
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
				act()
				return answer(renewalBody("key-1", server.now(), server.now().Add(90*day)))
			})
			err := source.RenewIfDue(t.Context())
			d := stored(t, store)
			if kept := d.Answer.Reveal() != "" || d.Key == key("key-1"); !kept || err == nil && d.Key != key("key-1") {
				t.Errorf("%s: RenewIfDue: %v; neither the answer nor its key is stored: %+v", name, err, d.Answer)
			}
			if err != nil && strings.Contains(err.Error(), "key-1") {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		})
	}
}

// 64 KiB are kept of a large answer. They take about as much room in the store, and can be read again.
func TestLargeAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"control characters": strings.Repeat("\x01", 1<<20-100), "quotes": strings.Repeat(`"`, 1<<20-100), "text": strings.Repeat("x", 1<<20-100),
		"not UTF-8": strings.Repeat("\xff", 1<<20-100),
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			server.keepOld = true
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) { act(); return reply(201, text), nil })
			if err := source.RenewIfDue(t.Context()); err == nil {
				t.Errorf("%s: no error", name)
			}
			data, _, _ := store.Load(t.Context())
			if got := stored(t, store).Answer.Reveal(); got != text[:mostAnswer] || len(data) > 3*mostAnswer/2 {
				t.Errorf("%s: an answer of %d bytes makes a document of %d bytes, and is read as %d bytes", name, len(text), len(data), len(got))
			}
		})
	}
}

// What the source makes of the end of a key, in each form in which a server may say it.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		text string // the end in JSON
		want func(now time.Time) time.Time
		warn bool
	}{
		{`"9999-12-31T23:59:59-08:00"`, func(time.Time) time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, false},
		{`"9999-12-31T23:59:59Z"`, func(time.Time) time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }, false},
		{`1000000000`, func(time.Time) time.Time { return time.Unix(1e9, 0).UTC() }, false},
		{`"1000000000"`, func(time.Time) time.Time { return time.Unix(1e9, 0).UTC() }, false},
		{`1000000000000`, func(time.Time) time.Time { return time.Unix(1e9, 0).UTC() }, false},
		{`"in a while"`, func(now time.Time) time.Time { return now.Add(day) }, true},
		{`{}`, func(now time.Time) time.Time { return now.Add(day) }, true},
		{`null`, func(now time.Time) time.Time { return now.Add(7 * day) }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			server, store := newStub(90*day), Memory()
			body := func(k string, c, _ time.Time) string {
				return fmt.Sprintf(`{"id": 571, "enterprise": %q, "developer_app": %q, "token": %q, "expires_on": %s, "expires_at": %[4]s, "created_on": %[5]s}`,
					stubEnterprise, stubApp, k, test.text, jsonTime(c))
			}
			server.info, server.body = body, body
			source := opened(t, server, store, logTo(&log))
			for _, what := range []string{"the first key", "a renewed key"} {
				if got, want := source.Status().ExpiresAt, test.want(wallClock()); !got.Equal(want) && time.Until(want) < 1000*day {
					t.Errorf("%s, %s: ends at %v, want %v", what, test.text, got, want)
				}
				if got, want := stored(t, store).ExpiresAt, test.want(wallClock()); test.text != "null" && !got.Equal(want) {
					t.Errorf("%s, %s: the stored end is %v, want %v", what, test.text, got, want)
				}
				if err := source.Renew(t.Context()); err != nil {
					t.Fatalf("%s: %v", test.text, err)
				}
			}
			source.tell.wait()
			if strings.Contains(log.String(), "level=WARN") != test.warn {
				t.Errorf("%s: log %s", test.text, &log)
			}
			wantKey(t, source, "key-2")
		})
	}
}

// With keys of 15 minutes and a quarter of all renewals failing, there is always a valid key.
func TestShortLivedKeys(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes long")
	}
	shortLives := 40
	if raceEnabled {
		shortLives = 8
	}
	renewals, failures := 0, 0
	for seed := range uint64(shortLives) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 15))
			server, store := newStub(15*time.Minute), Memory()
			source := opened(t, server, store)
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
				if random.IntN(4) == 0 {
					failures++
					return reply(502, "<html>"), nil
				}
				return act(), nil
			})
			for range 6 * 60 {
				if !works(server, source) {
					t.Fatalf("seed %d: no valid key at %v: %+v", seed, time.Now(), source.Status())
				}
				time.Sleep(time.Minute)
			}
			renewals += server.counted("renewed")
		})
	}
	if failures < 2*shortLives || renewals < shortLives*20 {
		t.Errorf("%d renewals and %d failures are too few for this test", renewals, failures)
	}
}

// After 403, which does not pass by itself, a renewal is tried seldom. After the key's end, 403 means the same as 401.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, fails(403)) // ten days before the end of the key
		if n := renewFor(t, server, source, 9*day, time.Hour); n < 5 || n > 25 {
			t.Errorf("%d renewals in the 9 days before the end of the key, want 5 to 25", n)
		}
		server.fault = func(*http.Request, string, func() *http.Response) (*http.Response, error) {
			return reply(403, "{}"), nil
		}
		if n := renewFor(t, server, source, 91*day, time.Hour); n > 10 {
			t.Errorf("%d renewals in the 90 days after the end of the key, want at most 10", n)
		}
		if _, err := source.Token(); !errors.Is(err, ErrKeyLost) {
			t.Errorf("Token after the end of the key: %v, want ErrKeyLost", err)
		}
	})
}
