package renew

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// In the last minutes of the key, all callers wait for one renewal, those of another process too.
func TestOneRenewalForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t)
		sources := []*Source{source, opened(t, server, store)}
		time.Sleep(90*day - 4*time.Minute) // within the mandatory window
		server.fault = hang(3 * time.Second)

		impatient, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx, begun := t.Context(), time.Now()
				if i == 50 {
					ctx = impatient
				}
				token, err := sources[i%2].TokenContext(ctx)
				switch {
				case i == 50 && (!errors.Is(err, context.Canceled) || time.Since(begun) != time.Second):
					t.Errorf("the caller that gave up got %v after %v, want Canceled after 1s", err, time.Since(begun))
				case i != 50 && err != nil:
					t.Error(err)
				case i != 50 && token.AccessToken != "key-1":
					t.Errorf("a caller got %s, want key-1", token.AccessToken)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if n := server.counted("renew"); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		if d := stored(t, store); d.Key != key("key-1") || d.Attempt.ID != "" {
			t.Errorf("stored: %s, attempt %v", d.Key.Reveal(), d.Attempt)
		}
	})
}

// Without Run, one caller waits for the renewal, ten seconds at most. The others get the valid key at once. After
// a failure, no caller waits until the pause is over, also if the server answers nothing.
func TestOneCallerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, nil)
		server.fault = hang(29 * time.Second)
		waited := make(chan time.Duration, 100)
		for range 100 {
			go func() {
				begun := time.Now()
				wantKey(t, source, stubFirst)
				waited <- time.Since(begun)
			}()
		}
		total := time.Duration(0)
		for range 100 {
			total += <-waited
		}
		if total != 10*time.Second {
			t.Errorf("the callers waited %v in all, want one of them to wait 10s", total)
		}
		if n := server.counted("renew"); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		wantKey(t, source, "key-1")

		time.Sleep(80 * day)
		server.set(silent)
		some := 0
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
			begun := time.Now()
			wantKey(t, source, "key-1")
			if took := time.Since(begun); took > patience {
				t.Errorf("the server is silent: a caller waited %v", took)
			} else if took > 0 {
				some++
			}
		}
		if some == 0 || some > 8 {
			t.Errorf("the server is silent: %d of some 50 callers waited", some)
		}
	})
}

// A call that ends before the server or the store answers returns the error of its context at once, and not nil. That says
// nothing to the next call.
func TestGivenUp(t *testing.T) {
	for _, test := range []struct {
		slow  string
		names []string
		pause time.Duration // before the next call works
	}{
		{"the server", []string{"Check", "RenewIfDue", "Renew", "Adopt"}, 0},
		{"the store", []string{"Check", "RenewIfDue", "Renew"}, 0},
		{"the server, asked about another key", []string{"Check"}, 0},
		// Reject leaves a turn that goes on and fails. The second Reject finds it under way.
		{"the server", []string{"Reject", "Reject"}, 2 * time.Minute},
		{"the store", []string{"Reject", "Reject"}, 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			const limit = 900 * time.Millisecond
			server, store := newStub(90*day), newFaulty()
			d := living(stubFirst, 90*day)
			d.Attempt = begunAttempt(time.Hour) // whose outcome is unknown
			put(t, store, d)
			source := opened(t, server, store)
			if test.slow == "the store" {
				store.set(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
			} else {
				server.fault = silent
			}
			another := strings.Contains(test.slow, "another key")
			if another {
				server.revoke("given")
				put(t, store, living("given", 90*day))
			} else {
				time.Sleep(80 * day)
			}
			for _, name := range test.names {
				begun := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				if err := calls[name](ctx, source); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > limit {
					t.Errorf("%s is slow, %s: %v after %v, want DeadlineExceeded at once", test.slow, name, err, time.Since(begun))
				}
				cancel()
			}
			if at := source.Status().AcceptedAt; !at.IsZero() {
				t.Errorf("Status says that the server accepted the key at %v, but it never answered", at)
			}
			server.set(nil)
			store.set(nil)
			time.Sleep(test.pause)
			if err := source.Check(t.Context()); err != nil || time.Since(source.Status().AcceptedAt) > time.Second {
				t.Errorf("Check when %s answers: %v, %+v", test.slow, err, source.Status())
			}
			if another {
				wantKey(t, source, "given")
			}
		})
	}
}

func TestNewKeyIsDurableBeforeItIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store, source := advisory(t, nil)
		store.set(func(_ context.Context, _, document string) error {
			if strings.Contains(document, "key-1") {
				time.Sleep(13 * time.Second) // saving the new key is slow
			}
			return nil
		})
		wantKey(t, source, stubFirst) // this call waits ten seconds
		time.Sleep(2 * time.Second)
		wantKey(t, source, stubFirst)
		time.Sleep(2 * time.Second)
		wantKey(t, source, "key-1")
	})
}

// Run renews the key, and asks the server about it once a day. No caller waits.
func TestNobodyWaitsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(2 * day)
		server.keepOld = true
		source := opened(t, server, Memory())
		server.fault = hang(29 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*day)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		for ctx.Err() == nil {
			asked := time.Now()
			token, err := source.Token()
			if waited := time.Since(asked); waited != 0 || err != nil || !server.valid(token.AccessToken) {
				t.Fatalf("a caller waited %v: %v", waited, err)
			}
			time.Sleep(5 * time.Second)
		}
		must(t, <-ended)
		if n := server.counted("renew"); n < 2 || n > 4 {
			t.Errorf("%d renewals in 3 days, want 2 to 4: keys of 2 days are renewed after 18 to 24 hours", n)
		}
		if n := server.counted("info"); n < 3 || n > 5 {
			t.Errorf("%d checks in 3 days, want one at the beginning and one each day", n)
		}
	})
}

// While an expired key cannot be renewed, the error says why, and only the first call waits. Once the server has refused
// it twice, it is lost. No request is sent without a key.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := fresh(t)
		server.set(fails(503))
		time.Sleep(90*day + time.Minute)
		_, err := source.Token()
		begun := time.Now()
		_, again := source.Token()
		_, sendErr := get(t, source, server)
		for _, err := range []error{err, again, sendErr} {
			if !errors.Is(err, ErrKeyExpired) || errors.Is(err, ErrKeyLost) || !errors.Is(err, esper.ErrServer) {
				t.Errorf("%v; want ErrKeyExpired and why it is not renewed", err)
			}
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("the second call waited %v", d)
		}
		server.set(fails(403)) // the same as 401, since the key has ended
		for range 5 {
			time.Sleep(time.Minute)
			_, err = source.Token()
		}
		if !errors.Is(err, ErrKeyLost) || !strings.Contains(err.Error(), "it ended at 2000-03-31T00:00:00Z") {
			t.Error(err)
		}
		body := &closing{Reader: strings.NewReader("x")}
		if _, err := source.Transport(server).RoundTrip(request(t, http.MethodPost, body)); !errors.Is(err, ErrKeyLost) || !body.closed {
			t.Errorf("%v, body closed %v", err, body.closed)
		}
		if n := server.counted("other"); n != 0 {
			t.Errorf("%d requests were sent without a key, want none", n)
		}
	})
}
