package renew

import (
	"context"
	"errors"
	"fmt"
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
			server.set(says(401, test.body))
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
						_, sendErr := get(t, s, server)
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
				status, sendErr := get(t, s, server)
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
	for name, test := range map[string]struct {
		renewal fault  // nil: somebody revokes the key
		text    string // in the error
		adopted bool   // a person gives the key that works; if not, it is in the store
		want    string // the key that works
	}{
		"the answer never arrives":  {handled(resets), ", begun at ", false, "operator"},
		"the answer cannot be read": {handled(says(201, "no JSON")), "is kept there", true, "operator"},
		"revoked":                   {nil, "perhaps it was revoked", true, stubFirst},
		"revoked, given again":      {nil, "perhaps it was revoked", true, "key-1"},
		"revoked, accepted again":   {nil, "perhaps it was revoked", false, "key-1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			var told recorder
			server, store, source := fresh(t, log.option(), told.option())
			must(t, source.Renew(t.Context()))
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
			renewFor(server, source, day, 20*time.Minute)
			if n := server.counted("info") - asked; server.counted("renew") != posts || n > 24*12+12 {
				t.Errorf("%s: in a day after the loss, %d renewals, want none, and %d checks, want one every five minutes at most", name, server.counted("renew")-posts, n)
			}
			server.set(nil)
			server.revoke(test.want)
			switch {
			case test.adopted:
				must(t, source.Adopt(t.Context(), key(test.want)), name)
				if d := stored(t, store); d.Key != key(test.want) || !d.RefusedAt.IsZero() || !d.LostAt.IsZero() {
					t.Errorf("%s: Adopt leaves a loss: %+v", name, d)
				}
			case test.want == "operator":
				put(t, store, living(test.want, 90*day))
			}
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

// A person has stored another key, and the server cannot say whether it works, or answers 403 to everything. However many
// requests there are, the server is asked about the two keys at most every ten seconds.
func TestNoFloodOfQuestions(t *testing.T) {
	for _, test := range []struct {
		status int
		lost   bool // the key in use is lost
		most   int  // questions in a minute
	}{{500, true, 7}, {500, false, 7}, {403, false, 14}} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			d := living(stubFirst, 90*day)
			if test.lost {
				d.RefusedAt, d.LostAt = plain(time.Now()), plain(time.Now())
			}
			put(t, store, d)
			source := opened(t, server, store, WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})))
			server.revoke("given")
			put(t, store, living("given", 90*day))
			server.fault = only("info", fails(test.status))
			asked := server.counted("info")
			for range 600 { // a minute
				if _, err := source.Token(); errors.Is(err, ErrKeyLost) != test.lost {
					t.Fatal(err)
				}
				_, _ = source.Reject(t.Context(), tokenOf(source.now.Load().state))
				time.Sleep(100 * time.Millisecond)
			}
			if n := server.counted("info") - asked; n < 2 || n > test.most {
				t.Errorf("%+v: %d questions in a minute", test, n)
			}
			server.fault = nil
			time.Sleep(30 * time.Second)
			if !test.lost {
				_, _ = source.Reject(t.Context(), tokenOf(source.now.Load().state))
			}
			wantKey(t, source, "given")
		})
	}
}

// A health probe calls Check every ten seconds, and TokenInfo fails all the time. The key is renewed all the same. The
// function of WithOnChange is told when that is over.
func TestFailedChecksDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		server := newStub(2 * time.Hour)
		source := opened(t, server, Memory(), told.option(), WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})))
		server.fault = only("info", fails(500))
		go func() { _ = source.Run(t.Context()) }()
		for n := range 5 {
			due := source.Status().NextAttempt
			for ; server.counted("renew") == n; time.Sleep(10 * time.Second) {
				if err := source.Check(t.Context()); !errors.Is(err, esper.ErrServer) {
					t.Fatal(err)
				}
			}
			if late := source.Status().IssuedAt.Sub(due); late > time.Second || !works(server, source) {
				t.Errorf("key %d was renewed %v after it was due: %+v", n, late, source.Status())
			}
		}
		_ = source.Check(t.Context())
		server.set(nil)
		must(t, source.Check(t.Context()))
		_ = source.Close() // waits until all is told
		if last := told[len(told)-1].Kind; last != Recovered {
			t.Errorf("the last event is %q, want %q", last, Recovered)
		}
	})
}

// If the server refuses the key and the store cannot be read, both are told, also of a key that is lost. What a store
// quotes is hidden: the key in use, one that was set aside, and any text of the shape of a key, such as the one before.
func TestBothErrorsAreTold(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const before, now = "Another6Before5Another6Before5Another6", "Made7Up8Key9InUse0Made7Up8Key9InUse0"
			const aside = "set-aside" // has not the shape of a key
			var log records
			server, store := newStub(90*day), newFaulty()
			d := living(now, 90*day)
			d.SetAside = key(aside)
			if lost {
				d.RefusedAt, d.LostAt = d.IssuedAt, d.IssuedAt
			}
			put(t, store, d)
			source := openAt(t, "foo", store, instead(t, server), log.option())
			store.set(func(context.Context, string, string) error {
				return fmt.Errorf("trigger: old row %s: %w", before, errDisk)
			})
			err := source.Check(t.Context())
			for what, err := range map[string]error{"Check": err, "Status": source.Status().LastError} {
				if !errors.Is(err, esper.ErrUnauthorized) || !errors.Is(err, errDisk) || errors.Is(err, ErrKeyLost) != lost ||
					!strings.Contains(err.Error(), "trigger: old row") || strings.Contains(err.Error(), before) {
					t.Errorf("%v, %s: %v, want what the server says and what the store says, without the old key", lost, what, err)
				}
			}
			for _, quoted := range []string{now, aside} {
				store.set(func(context.Context, string, string) error { return errors.New("webhook: " + quoted) })
				if err := source.Check(t.Context()); err == nil || strings.Contains(err.Error(), quoted) {
					t.Errorf("%v: a store that quotes the key: %v", lost, err)
				}
			}
			source.tell.wait()
			if text := log.String(); strings.Contains(text, before) || strings.Contains(text, now) || !strings.Contains(text, "old row") {
				t.Errorf("%v: the log: %s", lost, text)
			}
			store.set(nil)
		})
	}
}
