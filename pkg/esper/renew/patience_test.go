package renew

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// If the server does not answer, a caller waits ten seconds now and then, and most callers do not wait.
func TestSilentServer(t *testing.T) {
	for _, op := range []string{"info", "renew"} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			put(t, store, inDoubt())
			source := opened(t, server, store)
			server.fault = func(req *http.Request, got string, act func() *http.Response) (*http.Response, error) {
				if got == op {
					return silent(req, got, act)
				}
				return act(), nil
			}
			time.Sleep(80 * day)
			waited := 0
			for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
				begun := time.Now()
				wantKey(t, source, stubFirst)
				if took := time.Since(begun); took > patience {
					t.Errorf("%s: a caller waited %v", op, took)
				} else if took > 0 {
					waited++
				}
			}
			if waited == 0 || waited > 8 {
				t.Errorf("%s: %d of some 50 callers waited", op, waited)
			}
		})
	}
}

// If callers have less time than the server needs, a question that one of them began is finished for the next.
func TestImpatientCallers(t *testing.T) {
	for _, until := range []time.Duration{80 * day, 90*day - 4*time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			put(t, store, inDoubt())
			source := opened(t, server, store)
			server.fault = all(func(act func() *http.Response) (*http.Response, error) {
				time.Sleep(500 * time.Millisecond)
				return act(), nil
			})
			time.Sleep(until)
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				if _, err := source.TokenContext(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				cancel()
				time.Sleep(time.Second)
			}
			wantKey(t, source, "key-1")
			if n := server.counted("renew"); n != 1 {
				t.Errorf("%d renewals, want 1", n)
			}
		})
	}
}

// A call that ends before the server answers returns the error of its context, and not nil.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		put(t, store, inDoubt())
		source := opened(t, server, store)
		server.fault = silent
		time.Sleep(80 * day)
		for name, f := range map[string]func(context.Context) error{
			"Check": source.Check, "RenewIfDue": source.RenewIfDue, "Renew": source.Renew,
			"Adopt": func(ctx context.Context) error { return source.Adopt(ctx, key("another")) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want DeadlineExceeded", name, err)
			}
			cancel()
		}
		if at := source.Status().AcceptedAt; !at.IsZero() {
			t.Errorf("Status says that the server accepted the key at %v, but it never answered", at)
		}
		server.set(nil)
		if err := source.Check(t.Context()); err != nil || time.Since(source.Status().AcceptedAt) > time.Second {
			t.Errorf("Check when the server answers: %v, %+v", err, source.Status())
		}
	})
}
