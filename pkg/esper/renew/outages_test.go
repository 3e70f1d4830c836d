package renew

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// For a while, every request gets 401, although the key works. Five minutes after that at most, every process uses the
// key again. Nothing tells people to make a new key before the server has refused theirs twice, a minute apart; and
// nothing does if it was a gateway that answered in Esper's place, since that says nothing of the key.
func TestOutage(t *testing.T) {
	t.Parallel()
	const gateway = "<html>sign in</html>"
	for _, test := range []struct {
		body  string // of the 401; "" for Esper's own
		lasts time.Duration
		age   time.Duration // of the key, which is due after 80 days
	}{
		{"", 3 * time.Minute, day},
		{"", 20 * time.Minute, 80 * day},
		{"", 2 * time.Hour, day},
		{"", 2 * time.Hour, 80 * day},
		{gateway, 30 * time.Minute, day},
		{gateway, 2 * time.Hour, 80 * day},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			server, store, daemon := fresh(t, log.option())
			sources := []*Source{daemon, opened(t, server, store, log.option())}
			time.Sleep(test.age)
			server.set(all(func(func() *http.Response) (*http.Response, error) { return reply(401, test.body), nil }))
			go func() { _ = daemon.Run(t.Context()) }()
			defer daemon.Close() //nolint:errcheck // the sources are judged before
			begun, lost := time.Now(), false
			for n := 0; time.Since(begun) < test.lasts; n++ {
				if n == 10 { // another process starts
					sources = append(sources, opened(t, server, store, log.option()))
				}
				for _, s := range sources {
					_, err := s.Token()
					errs := []error{err, s.Status().LastError}
					if s != daemon && n%6 == 0 {
						_, sendErr := get(t, s, server, http.MethodGet)
						_, infoErr := s.Client().TokenInfo(t.Context())
						err := s.Check(t.Context())
						if errs = append(errs, sendErr, infoErr, err); !errors.Is(err, esper.ErrUnauthorized) && !errors.Is(err, esper.ErrGateway) {
							t.Errorf("%+v: Check: %v", test, err)
						}
					}
					synctest.Wait()
					lost = lost || s.Status().Lost
					for _, err := range append(errs, errors.New(log.String())) {
						if err != nil && strings.Contains(err.Error(), "in the Esper Console") && !lost {
							t.Fatalf("%+v, after %v: %v", test, time.Since(begun), err)
						}
					}
				}
				if lost && (test.body != "" || time.Since(begun) < time.Minute) {
					t.Fatalf("%+v: the key is lost after %v", test, time.Since(begun))
				}
				time.Sleep(10 * time.Second)
			}
			if !lost && test.body == "" {
				t.Errorf("%+v: the key is not lost, so this test shows nothing", test)
			}
			server.set(nil)
			time.Sleep(5*time.Minute + time.Second)
			if status := daemon.Status(); status.Lost {
				t.Errorf("%+v: five minutes later, without a call: %+v", test, status)
			}
			for i, s := range sources {
				token, err := s.Token()
				status, sendErr := get(t, s, server, http.MethodGet)
				if err != nil || !server.valid(token.AccessToken) || sendErr != nil || status != 200 {
					t.Errorf("%+v: five minutes later, process %d: %v, %d, %v", test, i, err, status, sendErr)
				}
				if status := s.Status(); status.Lost || status.Refused || test.age == day && status.LastError != nil {
					t.Errorf("%+v: the outage has left traces in process %d: %+v", test, i, status)
				}
			}
			if n := server.counted("renewed"); n > 1 || test.age == day && n > 0 {
				t.Errorf("%+v: %d renewals", test, n)
			}
		})
	}
}

// A key is lost after two refusals, a minute apart. The error says what is known and what to do, every process says so at
// once, and the server is asked every five minutes at most. Any key that works ends that, whoever brings it.
func TestLost(t *testing.T) {
	t.Parallel()
	adopt := func(text string) func(*testing.T, *Source, Store) {
		return func(t *testing.T, source *Source, _ Store) {
			if err := source.Adopt(t.Context(), key(text)); err != nil {
				t.Error(err)
			}
		}
	}
	none := func(*testing.T, *Source, Store) {}
	save := func(t *testing.T, _ *Source, store Store) { put(t, store, living("operator", 90*day)) }
	for name, test := range map[string]struct {
		renewal response // nil: somebody revokes the key
		text    string   // in the error
		mend    func(t *testing.T, source *Source, store Store)
		want    string
	}{
		"the answer never arrives":  {drops, ", begun at ", save, "operator"},
		"the answer cannot be read": {acts(201, "no JSON"), "is kept there", adopt("operator"), "operator"},
		"revoked":                   {nil, "perhaps it was revoked", adopt(stubFirst), stubFirst},
		"revoked, accepted again":   {nil, "perhaps it was revoked", none, "key-1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			var told recorder
			server, store, source := fresh(t, log.option(), told.option())
			if err := source.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			if test.renewal == nil {
				server.revoke()
			} else {
				server.fault = only("renew", test.renewal)
				time.Sleep(80 * day)
			}
			go func() { _ = source.Run(t.Context()) }()
			_ = source.Check(t.Context())
			time.Sleep(30 * time.Second)
			wantKey(t, source, "key-1")
			if status := source.Status(); status.Lost || status.LastError == nil {
				t.Errorf("%s: after one refusal: %+v", name, status)
			}
			time.Sleep(4 * time.Minute)
			_, err := source.Token()
			if !errors.Is(err, ErrKeyLost) || !errors.Is(err, esper.ErrUnauthorized) || !source.Status().Lost {
				t.Fatalf("%s: %v", name, err)
			}
			for _, part := range []string{"make a new key in the Esper Console", "refused", test.text} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: no %q in %q", name, part, err)
				}
			}
			source.tell.wait()
			isLost := func(e Event) bool { return e.Kind == Lost }
			if !slices.ContainsFunc(told, isLost) || !strings.Contains(log.String(), ErrKeyLost.Error()) {
				t.Errorf("%s: the function of WithOnChange or the log was not told: %+v, %s", name, told, &log)
			}
			if d := stored(t, store); d.RefusedAt.IsZero() || d.LostAt.IsZero() {
				t.Errorf("%s: the loss is not noted: %+v", name, d)
			}
			posts, asked, begun := server.counted("renew"), server.counted("info"), time.Now()
			other := opened(t, server, store)
			for range 20 {
				if _, err := other.Token(); !errors.Is(err, ErrKeyLost) {
					t.Errorf("%s: another process: %v", name, err)
				}
			}
			if n := server.counted("info") - asked; n != 1 || time.Since(begun) != 0 {
				t.Errorf("%s: another process asked %d times, and its callers waited %v, want one question", name, n, time.Since(begun))
			}
			_ = renewFor(t, server, source, day, 20*time.Minute)
			if n := server.counted("info") - asked; server.counted("renew") != posts || n > 24*12+12 {
				t.Errorf("%s: in a day after the loss, %d renewals, want none, and %d checks, want one every five minutes at most", name, server.counted("renew")-posts, n)
			}
			server.set(nil)
			server.revoke(test.want)
			test.mend(t, source, store)
			time.Sleep(5 * time.Minute)
			wantKey(t, source, test.want)
			wantKey(t, other, test.want)
			if d := stored(t, store); d.Key != key(test.want) {
				t.Errorf("%s: the store has %s", name, d.Key.Reveal())
			}
			if s := source.Status(); s.Lost || s.LastError != nil {
				t.Errorf("%s: the key is still lost, or an error remains: %+v", name, s)
			}
		})
	}
}
