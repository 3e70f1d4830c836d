package renew

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

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
				d.RefusedAt, d.LostAt = wallClock(), wallClock()
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

// A question about another key that its own caller ends says nothing to the next caller.
func TestQuestionThatItsCallerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t)
		server.revoke("given")
		put(t, store, living("given", 90*day))
		server.set(silent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := source.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check: %v, want DeadlineExceeded", err)
		}
		server.set(nil)
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
		_ = source.Close()
	})
}

// A cron job opens the source once a day, calls RenewIfDue and exits. The key is renewed once in eighty days, or the job
// says that it is lost.
func TestDailyJob(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		document string // that is stored at first; "" for a whole one
		daily    func(server *stub, day int)
		lostOn   int // the day from which on the key is lost; 0: never
	}{
		"a document with server and key alone": {
			document: fmt.Sprintf(`{"format": "esper-go key", "version": 2, "server": %q, "key": %q}`, stubBase, stubFirst),
		},
		"a key that is revoked on the fifth day": {lostOn: 5, daily: func(server *stub, n int) {
			if n == 5 {
				server.revoke()
			}
		}},
		"TokenInfo fails": {daily: func(server *stub, _ int) { server.fault = only("info", fails(500)) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), newFaulty()
			put(t, store, living(stubFirst, 90*day))
			if test.document != "" {
				overwrite(store, test.document)
			}
			for n := range 80 {
				if test.daily != nil {
					test.daily(server, n)
				}
				source := opened(t, server, store)
				begun, err := time.Now(), source.RenewIfDue(t.Context())
				d, lost := stored(t, store), test.lostOn > 0 && n >= test.lostOn
				if lost != (err != nil) || lost != errors.Is(err, ErrKeyLost) || time.Since(begun) > 90*time.Second || d.EnterpriseID != stubEnterprise || d.ExpiresAt.IsZero() {
					t.Fatalf("%s, day %d: %v after %v, stored %+v", name, n, err, time.Since(begun), d)
				}
				if err := source.Close(); err != nil {
					t.Error(err)
				}
				time.Sleep(day)
			}
			if n := server.counted("renewed"); (n == 1) == (test.lostOn > 0) {
				t.Errorf("%s: %d renewals in 80 days", name, n)
			}
		})
	}
}

// If the server refuses the key and the store cannot be read, both are told. What a store quotes is hidden: the key in
// use, and any text of the shape of a key, such as the one before.
func TestBothErrorsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const before, now = "Another6Before5Another6Before5Another6", "Made7Up8Key9InUse0Made7Up8Key9InUse0"
		var log records
		server, store := newStub(90*day), newFaulty()
		put(t, store, living(now, 90*day))
		source := opened(t, server, store, log.option())
		store.set(func(context.Context) error { return fmt.Errorf("trigger: old row %s: %w", before, errDisk) }, nil)
		err := source.Check(t.Context())
		for what, err := range map[string]error{"Check": err, "Status": source.Status().LastError} {
			if !errors.Is(err, esper.ErrUnauthorized) || !errors.Is(err, errDisk) ||
				!strings.Contains(err.Error(), "trigger: old row") || strings.Contains(err.Error(), before) {
				t.Errorf("%s: %v, want what the server says and what the store says, without the old key", what, err)
			}
		}
		store.set(func(context.Context) error { return errors.New("webhook: " + now) }, nil)
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
		for name, call := range calls {
			if name == "Run" {
				continue // it would not return
			}
			synctest.Test(t, func(t *testing.T) {
				server, _, source := fresh(t)
				server.keepOld = true
				server.add("given")
				time.Sleep(age)
				if err := call(nil, source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
}
