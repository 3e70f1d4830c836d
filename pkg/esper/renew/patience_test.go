package renew

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// inDoubt returns the document of a key with an attempt of an hour ago, whose outcome is unknown.
func inDoubt() policy.Document {
	d := living(stubFirst, 90*day)
	d.Attempt = policy.Attempt{ID: "x", Begun: wallClock().Add(-time.Hour), Until: wallClock().Add(-time.Hour + time.Minute)}
	return d
}

// If the server does not answer, a caller waits ten seconds now and then, and most callers do not wait.
func TestSilentServer(t *testing.T) {
	for _, op := range []string{"info", "renew"} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			put(t, store, inDoubt())
			source := opened(t, server, store)
			server.fault = func(req *http.Request, got string, act func() *http.Response) (*http.Response, error) {
				if got == op {
					<-req.Context().Done()
					return nil, req.Context().Err()
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
			server.fault = func(_ *http.Request, _ string, act func() *http.Response) (*http.Response, error) {
				time.Sleep(500 * time.Millisecond)
				return act(), nil
			}
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

// In the last minutes of the key, a call waits for the renewal by another process, and gets the new key.
func TestWaitsForTheOtherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		server.keepOld = true
		first, other := opened(t, server, store), opened(t, server, store)
		time.Sleep(90*day - 4*time.Minute)
		server.fault = hang(3 * time.Second)
		ended := make(chan error, 1)
		go func() { ended <- first.RenewIfDue(t.Context()) }()
		time.Sleep(time.Second)
		begun := time.Now()
		wantKey(t, other, "key-1")
		if took := time.Since(begun); took > 2500*time.Millisecond || server.counted("renew") != 1 {
			t.Errorf("the call waited %v for the other process, and there were %d renewals, want 1", took, server.counted("renew"))
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A turn that its caller gives up keeps the last error, since it has found out nothing new.
func TestEarlyEndKeepsTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, fails(500))
		if err := source.RenewIfDue(t.Context()); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(day)
		server.fault = only("info", func(func() *http.Response) (*http.Response, error) { time.Sleep(time.Second); return nil, errStub })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_ = source.RenewIfDue(ctx)
		if source.Status().LastError == nil {
			t.Error("the error is forgotten")
		}
		time.Sleep(time.Minute) // until the server has answered
	})
}

// A request through Transport ends with its context, also while the source looks into a 401.
func TestRefusedRequestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		source.running.Add(1) // as if Run were running, so that no call renews by itself
		server.fault = func(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
			switch op {
			case "renew":
				return hang(20*time.Second)(req, op, act)
			case "other":
				return reply(401, "{}"), nil
			}
			return act(), nil
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		resp, err := source.Transport(server).RoundTrip(request(t, http.MethodGet, device, nil).WithContext(short))
		if err == nil {
			_ = resp.Body.Close()
		}
		if took := time.Since(begun); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		if err := source.Close(); err != nil || stored(t, store).Key != key("key-1") {
			t.Errorf("Close: %v", err)
		}
	})
}

// A call that ends before the server answers returns the error of its context, and not nil.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		put(t, store, inDoubt())
		source := opened(t, server, store)
		var answers atomic.Bool
		server.fault = func(req *http.Request, _ string, act func() *http.Response) (*http.Response, error) {
			if answers.Load() {
				return act(), nil
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		}
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
		answers.Store(true)
		if err := source.Check(t.Context()); err != nil || time.Since(source.Status().AcceptedAt) > time.Second {
			t.Errorf("Check when the server answers: %v, %+v", err, source.Status())
		}
	})
}
