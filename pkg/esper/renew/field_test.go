package renew

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// While Esper wrongly refuses every key, no process destroys a key that works.
func TestWrongRefusalsDestroyNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		// during happens at the begin of the outage, with a daemon that has stubFirst.
		during func(t *testing.T, server *stub, store *faulty, daemon *Source)
		want   string
	}{
		"a person's key is stored": {func(t *testing.T, server *stub, store *faulty, _ *Source) {
			server.revoke("given")
			put(t, store, living("given", 90*day))
		}, "given"},
		"a successor is stored": {func(t *testing.T, server *stub, store *faulty, _ *Source) {
			replaced(t, server, store)
		}, "other"},
		"the new key is in memory alone": {func(t *testing.T, server *stub, store *faulty, daemon *Source) {
			store.set(nil, diskFullFor(`"key-1"`))
			fault := server.fault
			server.fault = nil
			if err := daemon.Renew(t.Context()); !errors.Is(err, ErrNotSaved) {
				t.Error(err)
			}
			server.fault = fault
		}, "key-1"},
	} {
		for _, lasts := range []time.Duration{3 * time.Minute, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), &faulty{Store: Memory()}
				var up atomic.Bool
				daemon := opened(t, server, store)
				server.fault = func(_ *http.Request, _ string, act func() *http.Response) (*http.Response, error) {
					if !up.Load() {
						return reply(401, ""), nil
					}
					return act(), nil
				}
				test.during(t, server, store, daemon)
				ctx, cancel := context.WithTimeout(t.Context(), lasts+5*time.Minute)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- daemon.Run(ctx) }()
				for begun := time.Now(); time.Since(begun) < lasts; time.Sleep(35 * time.Second) {
					_, _ = get(t, daemon, server, http.MethodGet)
					if daemon.Status().Lost && test.want == "key-1" {
						t.Fatalf("%s: the key is lost, whose only copy is in memory", name)
					}
				}
				up.Store(true)
				store.set(nil, nil)
				if err := <-ended; err != nil {
					t.Errorf("%s: Run: %v", name, err)
				}
				wantKey(t, daemon, test.want)
				if err := daemon.Close(); err != nil || stored(t, store).Key != key(test.want) {
					t.Errorf("%s, %v: Close: %v, stored %s, want %s", name, lasts, err, stored(t, store).Key.Reveal(), test.want)
				}
			})
		}
	}
}

// A process gave its key up after wrong refusals. Meanwhile another one renews the key. Adopt of the old key, as
// configuration management does it, changes nothing.
func TestAdoptOfAPredecessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		server.keepOld = true
		source := opened(t, server, store)
		server.fault = func(*http.Request, string, func() *http.Response) (*http.Response, error) {
			return reply(401, ""), nil
		}
		for range 3 {
			_ = source.Check(t.Context())
			time.Sleep(time.Minute)
		}
		if !source.Status().Lost {
			t.Fatal("the key is not lost after three refusals")
		}
		server.fault = nil
		if err := opened(t, server, store).Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := source.Adopt(t.Context(), key(stubFirst)); err != nil || stored(t, store).Key != key("key-1") {
			t.Errorf("Adopt: %v, stored %s, want key-1", err, stored(t, store).Key.Reveal())
		}
		wantKey(t, source, "key-1")
	})
}

// The key is lost, a person has stored another one, and the server cannot say whether that works. However many requests
// there are, the server is asked at most every ten seconds.
func TestNoFloodOfQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		d := living(stubFirst, 90*day)
		d.RefusedAt, d.LostAt = wallClock(), wallClock()
		put(t, store, d)
		source := opened(t, server, store, WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})))
		server.revoke("given")
		put(t, store, living("given", 90*day))
		server.fault = only("info", fails(500))
		asked := server.counted("info")
		for range 600 { // a minute
			token, err := source.Token()
			if !errors.Is(err, ErrKeyLost) {
				t.Fatal(token, err)
			}
			_, _ = source.Reject(t.Context(), tokenOf(source.now.Load().state))
			time.Sleep(100 * time.Millisecond)
		}
		if n := server.counted("info") - asked; n < 2 || n > 7 {
			t.Errorf("%d questions in a minute, want one every ten seconds at most", n)
		}
		server.fault = nil
		time.Sleep(30 * time.Second)
		wantKey(t, source, "given")
	})
}

// A question about another key that its own caller ends says nothing to the next caller.
func TestQuestionThatItsCallerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		var silent atomic.Bool
		server.fault = func(req *http.Request, _ string, act func() *http.Response) (*http.Response, error) {
			if !silent.Load() {
				return act(), nil
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
		put(t, store, living(stubFirst, 90*day))
		source := opened(t, server, store)
		server.revoke("given")
		put(t, store, living("given", 90*day))
		silent.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := source.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check: %v, want DeadlineExceeded", err)
		}
		silent.Store(false)
		if err := source.Check(t.Context()); err != nil {
			t.Errorf("Check of the next caller: %v", err)
		}
		wantKey(t, source, "given")
	})
}

// A health probe calls Check every ten seconds, and TokenInfo fails all the time. The key is renewed all the same.
func TestFailedChecksDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(2 * time.Hour)
		source := opened(t, server, Memory(), WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})))
		server.fault = only("info", fails(500))
		go func() { _ = source.Run(t.Context()) }()
		due := source.Status().NextAttempt
		for ; server.counted("renew") == 0; time.Sleep(10 * time.Second) {
			if err := source.Check(t.Context()); !errors.Is(err, esper.ErrServer) {
				t.Fatal(err)
			}
		}
		if late := server.posted()[0].Sub(due); late > time.Second || !works(server, source) {
			t.Errorf("the key was renewed %v after it was due: %+v", late, source.Status())
		}
		_ = source.Close()
	})
}

// An answer to a renewal from which no key can be read is saved like a key, and a store that refuses it blocks nothing.
func TestAnswerIsSavedLikeAKey(t *testing.T) {
	for name, test := range map[string]struct {
		fails func(data string, n int) bool // whether the n-th save fails that has the answer
		kept  bool
	}{
		"one save fails":  {func(_ string, n int) bool { return n == 1 }, true},
		"it is too large": {func(data string, _ int) bool { return len(data) > 10_000 }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			server.keepOld = true
			answer, saves := strings.Repeat("unreadable ", 1000), 0
			store.set(nil, func(data []byte) error {
				if !strings.Contains(string(data), "unreadable") {
					return nil
				}
				if saves++; test.fails(string(data), saves) {
					return errDisk
				}
				return nil
			})
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
				act()
				return reply(201, answer), nil
			})
			_ = source.RenewIfDue(t.Context())
			server.fault = nil
			if test.kept {
				if err := source.Close(); err != nil || stored(t, store).Answer != key(answer) {
					t.Errorf("%s: Close: %v, and the answer is not stored", name, err)
				}
				return
			}
			time.Sleep(time.Hour)
			if err := source.RenewIfDue(t.Context()); err != nil || stored(t, store).Key != key("key-2") {
				t.Errorf("%s: the next renewal: %v, stored %s", name, err, stored(t, store).Key.Reveal())
			}
		})
	}
}

// A cron job opens the source once a day, calls RenewIfDue and exits.
func TestDailyJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		begin func(server *stub, store *faulty)
		daily func(server *stub, day int)
		check func(day int, err error, server *stub, store *faulty) bool // whether all is as it should be
	}{
		"a document with server and key alone": {
			begin: func(_ *stub, store *faulty) {
				const text = `{"format": "esper-go key", "version": 2, "server": %q, "key": %q}`
				overwrite(store, fmt.Sprintf(text, stubBase, stubFirst))
			},
			check: func(n int, err error, server *stub, store *faulty) bool {
				d := stored(t, store)
				complete := d.EnterpriseID == stubEnterprise && !d.ExpiresAt.IsZero()
				return err == nil && complete && (n < 72 || server.counted("renewed") == 1)
			},
		},
		"a key that is revoked on the fifth day": {
			daily: func(server *stub, n int) {
				if n == 5 {
					server.revoke()
				}
			},
			check: func(n int, err error, _ *stub, _ *faulty) bool {
				return n < 5 && err == nil || n == 5 && errors.Is(err, esper.ErrUnauthorized) || n > 5 && errors.Is(err, ErrKeyLost)
			},
		},
		"TokenInfo fails": {
			daily: func(server *stub, _ int) { server.fault = only("info", fails(500)) },
			check: func(n int, err error, server *stub, _ *faulty) bool {
				return err == nil && (n < 72 || server.counted("renewed") == 1)
			},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), &faulty{Store: Memory()}
			put(t, store, living(stubFirst, 90*day))
			if test.begin != nil {
				test.begin(server, store)
			}
			for n := range 80 {
				if test.daily != nil {
					test.daily(server, n)
				}
				source := opened(t, server, store)
				begun, err := time.Now(), source.RenewIfDue(t.Context())
				if !test.check(n, err, server, store) || time.Since(begun) > 90*time.Second {
					t.Fatalf("%s, day %d: %v after %v, %d renewals", name, n, err, time.Since(begun), server.counted("renewed"))
				}
				if err := source.Close(); err != nil {
					t.Error(err)
				}
				time.Sleep(day)
			}
		})
	}
}

// Close begins no renewal, even in the last minutes of a key that is in memory alone.
func TestCloseBeginsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		store.set(nil, diskFullFor(`"key-`))
		if err := source.RenewIfDue(t.Context()); !errors.Is(err, ErrNotSaved) {
			t.Fatal(err)
		}
		time.Sleep(time.Until(source.Status().ExpiresAt) - time.Minute)
		if err := source.Close(); !errors.Is(err, ErrNotSaved) || !errors.Is(err, errDisk) || server.counted("renew") != 1 {
			t.Errorf("Close: %v, %d renewals, want 1", err, server.counted("renew"))
		}
	})
}

// If the server refuses the key and the store cannot be read, both are told. What a store quotes is hidden: the key in
// use, and any text of the shape of a key, such as the one before.
func TestBothErrorsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const before, now = "Another6Before5Another6Before5Another6", "Made7Up8Key9InUse0Made7Up8Key9InUse0"
		var log strings.Builder
		server, store := newStub(90*day), &faulty{Store: Memory()}
		put(t, store, living(now, 90*day))
		source := opened(t, server, store, logTo(&log))
		store.set(func() error { return fmt.Errorf("trigger: old row %s: %w", before, errDisk) }, nil)
		err := source.Check(t.Context())
		for what, err := range map[string]error{"Check": err, "Status": source.Status().LastError} {
			if !errors.Is(err, esper.ErrUnauthorized) || !errors.Is(err, errDisk) ||
				!strings.Contains(err.Error(), "trigger: old row") || strings.Contains(err.Error(), before) {
				t.Errorf("%s: %v, want what the server says and what the store says, without the old key", what, err)
			}
		}
		store.set(func() error { return errors.New("webhook: " + now) }, nil)
		if err := source.Check(t.Context()); err == nil || strings.Contains(err.Error(), now) {
			t.Errorf("a store that quotes the key: %v", err)
		}
		source.tell.wait()
		if text := log.String(); strings.Contains(text, before) || strings.Contains(text, now) || !strings.Contains(text, "old row") {
			t.Errorf("the log: %s", text)
		}
		store.set(nil, nil)
	})
}

// A nil context counts as context.Background, also in the last minutes of a key.
func TestNilContext(t *testing.T) {
	for _, age := range []time.Duration{0, 90*day - time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			source := opened(t, server, store)
			time.Sleep(age)
			var none context.Context
			if token, err := source.TokenContext(none); err != nil || !server.valid(token.AccessToken) {
				t.Error(err)
			}
			for name, err := range map[string]error{
				"Check": source.Check(none), "RenewIfDue": source.RenewIfDue(none), "Renew": source.Renew(none),
				"Adopt": source.Adopt(none, stored(t, store).Key),
			} {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
