package renew

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// calling is a log handler that makes a call before it handles a record.
type calling struct {
	slog.Handler
	call func()
}

func (calling) Enabled(context.Context, slog.Level) bool { return true }

func (c calling) Handle(ctx context.Context, r slog.Record) error {
	c.call()
	return c.Handler.Handle(ctx, r)
}

// A log handler and a function of WithOnChange may use the source: they do not wait for the renewal that they are
// told of, and a failure that they cause is not told.
func TestCallbacksMayUseTheSource(t *testing.T) {
	for name, until := range map[string]time.Duration{"with time left": 80 * day, "in the last minutes": 90*day - 4*time.Minute, "ended": 90*day + time.Minute, "the server fails": 81 * day} {
		synctest.Test(t, func(t *testing.T) {
			server := newStub(90 * day)
			var own atomic.Pointer[Source]
			var records, changes atomic.Int32
			logger := slog.New(calling{slog.DiscardHandler, func() {
				if s := own.Load(); s != nil {
					records.Add(1)
					_, _ = s.Token()
					_ = s.Status()
					_, _ = get(t, s, server, http.MethodGet)
				}
			}})
			source := opened(t, server, Memory(), WithLogger(logger), WithClientOptions(esper.WithLogger(logger)), WithOnChange(func(Event) {
				changes.Add(1)
				for _, name := range []string{"Token", "Check", "RenewIfDue"} {
					_ = calls[name](t.Context(), own.Load())
				}
			}))
			own.Store(source)
			time.Sleep(until)
			if name == "the server fails" {
				server.set(all(fails(503)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := source.TokenContext(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the call hung", name)
			}
			time.Sleep(time.Minute)
			if records.Load() == 0 || changes.Load() == 0 || changes.Load() > 3 {
				t.Errorf("%s: the functions were not called, or too often: %d logs, %d changes", name, records.Load(), changes.Load())
			}
		})
	}
}

// Close ends Run before the context of Run is cancelled, which is the usual order of defers.
func TestCloseEndsRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, nil)
		server.fault = hang(20 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		time.Sleep(time.Second) // a renewal is under way
		begun := time.Now()
		if err := source.Close(); err != nil || time.Since(begun) != 19*time.Second {
			t.Errorf("Close: %v after %v, want the end of the renewal after 19s", err, time.Since(begun))
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := server.counted("renewed"); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		if err := source.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if _, err := get(t, source, server, http.MethodGet); !errors.Is(err, ErrClosed) {
			t.Errorf("Transport after Close: %v, want ErrClosed", err)
		}
		for name, call := range calls {
			err := call(ctx, source)
			if closed := errors.Is(err, ErrClosed); name == "Run" && err != nil || closed != (name != "Run" && name != "Open") {
				t.Errorf("%s after Close: %v, want ErrClosed", name, err)
			}
		}
	})
}

// A function of WithOnChange may call Close while another Close waits for that function.
func TestCloseInAFunction(t *testing.T) {
	var own atomic.Pointer[Source]
	var told atomic.Bool
	source := opened(t, newStub(2*time.Hour), Memory(), WithOnChange(func(Event) {
		for own.Load() == nil || !own.Load().now.Load().closed {
			time.Sleep(time.Millisecond)
		}
		_ = own.Load().Close()
		told.Store(true)
	}))
	if err := source.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	own.Store(source)
	if err := source.Close(); err != nil || !told.Load() {
		t.Errorf("Close: %v; the function had returned: %v", err, told.Load())
	}
}

// When its context ends, a call begins nothing more, and finishes a renewal that has begun; also shortly after a Run.
func TestContextEnds(t *testing.T) {
	for _, after := range []time.Duration{0, 500 * time.Millisecond, 2 * time.Second} {
		for name, call := range map[string]func(s *Source, ctx context.Context) error{
			"RenewIfDue": (*Source).RenewIfDue, "Renew": (*Source).Renew, "Run": (*Source).Run,
		} {
			synctest.Test(t, func(t *testing.T) {
				server, store, source := advisory(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := source.Run(ctx); err != nil {
					t.Error(err)
				}
				time.Sleep(stopTime - 5*time.Second)
				store.set(func(context.Context) error { time.Sleep(time.Second); return nil }, nil) // reading the store is slow
				server.fault = hang(20 * time.Second)
				ctx, cancel = context.WithTimeout(t.Context(), after)
				defer cancel()
				begun := time.Now()
				err := call(source, ctx)
				posts, took := server.counted("renew"), time.Since(begun)
				if renewed := posts == 1; name != "Run" && (err == nil) != renewed || name == "Run" && err != nil {
					t.Errorf("%s, whose context ends after %v: %d renewals, and %v", name, after, posts, err)
				}
				if after < time.Second && (posts != 0 || took > time.Second) || after > time.Second && (posts != 1 || took != 21*time.Second || stored(t, store).Key != key("key-1")) {
					t.Errorf("%s, whose context ends after %v: %d renewals, returned after %v", name, after, posts, took)
				}
				time.Sleep(time.Second) // a read that was given up goes on alone
			})
		}
	}
}
