package renew

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/esper-go/esper-go/pkg/esper"
)

// hang is a renewal that the server carries out, and answers after d.
func hang(d time.Duration) func(*http.Request, string, func() *http.Response) (*http.Response, error) {
	return func(req *http.Request, op string, act func() *http.Response) (*http.Response, error) {
		resp := act()
		if op != "renew" {
			return resp, nil
		}
		select {
		case <-time.After(d):
			return resp, nil
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
}

func TestOneRenewalForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source := opened(t, server, store)
		time.Sleep(90*day - time.Minute) // within the mandatory window
		server.fault = hang(10 * time.Second)

		impatient, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx, begun := t.Context(), time.Now()
				if i == 50 {
					ctx = impatient
				}
				token, err := source.TokenContext(ctx)
				switch {
				case i == 50 && (!errors.Is(err, context.Canceled) || time.Since(begun) != time.Second):
					t.Errorf("the one that gave up got %v after %v", err, time.Since(begun))
				case i != 50 && err != nil:
					t.Error(err)
				case i != 50 && token.AccessToken != "key-1":
					t.Errorf("got %s", token.AccessToken)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if n := server.counted("renew"); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		if d := stored(t, store); d.Key != "key-1" || d.Attempt != nil {
			t.Errorf("stored: %s, attempt %v", d.Key, d.Attempt)
		}
	})
}

func TestRenewalCompletesWithoutItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source := opened(t, server, store)
		time.Sleep(90*day - time.Minute)
		server.fault = hang(20 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := source.TokenContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if d := stored(t, store); d.Key != "key-1" {
			t.Errorf("stored: %s", d.Key)
		}
		wantKey(t, source, "key-1")
	})
}

func TestValidKeyIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), &faulty{Store: Memory()}
		source := opened(t, server, store)
		time.Sleep(80 * day)
		server.fault = hang(29 * time.Second)
		begun := time.Now()
		for range 1000 {
			wantKey(t, source, stubFirst)
		}
		synctest.Wait()
		for range 1000 { // the renewal hangs
			wantKey(t, source, stubFirst)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("callers waited %v", d)
		}
		if n := server.counted("renew"); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		wantKey(t, source, "key-1")
	})
}

func TestNewKeyIsDurableBeforeItIsHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), &faulty{Store: Memory()}
		source := opened(t, server, store)
		time.Sleep(80 * day)
		store.set(nil, func(data []byte) error {
			if strings.Contains(string(data), "key-1") {
				time.Sleep(10 * time.Second) // a slow disk
			}
			return nil
		})
		wantKey(t, source, stubFirst)
		time.Sleep(5 * time.Second)
		wantKey(t, source, stubFirst)
		time.Sleep(6 * time.Second)
		wantKey(t, source, "key-1")
	})
}

func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(9*day), Memory()
		source := opened(t, server, store)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		time.Sleep(30 * day)
		synctest.Wait()
		if n := server.counted("renew"); n != 4 {
			t.Errorf("%d renewals in 30 days of 9-day keys, want 4", n)
		}
		if !server.valid(stored(t, store).Key) || source.Status().LastError != nil || !source.Status().Saved {
			t.Errorf("after 30 days: %+v", source.Status())
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}

		// It ends with its context during a renewal, too, which goes on.
		time.Sleep(time.Until(source.Status().NextAttempt))
		server.fault = hang(20 * time.Second)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if err := source.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("Run returned %v after %v", err, time.Since(begun))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if d := stored(t, store); !server.valid(d.Key) {
			t.Error("the renewal ended with Run")
		}
	})
}

func TestRunReturnsErrKeyLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(5 * day)
		source := opened(t, server, Memory())
		server.revoke()
		if err := source.Run(t.Context()); !errors.Is(err, ErrKeyLost) {
			t.Errorf("Run returned %v", err)
		}
		if err := source.Run(t.Context()); !errors.Is(err, ErrKeyLost) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(90 * day)
		network, once := instead(t, server), WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1}))
		client := func(s *settings) { network(s); once(s) }
		first := WithInitialToken(esper.NewSecret(stubFirst))
		down := func(*http.Request, string, func() *http.Response) (*http.Response, error) { return nil, errStub }
		for _, test := range []struct {
			name    string
			env     string
			store   Store
			opts    []Option
			prepare func()
			want    error  // nil for any
			text    string // in the error
		}{
			{name: "no initial token", env: "foo", store: Memory(), want: esper.ErrInvalidArgument, text: "WithInitialToken"},
			{name: "refused", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() { server.revoke() }, want: esper.ErrUnauthorized, text: "the initial key"},
			{name: "network down", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() { server.fault = down }, want: io.EOF},
			{name: "no developer app", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() {
				server.info = func(string, time.Time, time.Time) string {
					return `{"id": "570", "developer_app": null, "enterprise": "` + stubEnterprise + `"}`
				}
			}, text: "belongs to no developer app"},
			{name: "store nil", env: "foo", want: esper.ErrInvalidArgument, text: "the store is nil"},
			{name: "file without a path", env: "foo", store: File(""), want: esper.ErrInvalidArgument, text: "the path given to File is empty"},
			{name: "environment", env: "", store: Memory(), want: esper.ErrInvalidArgument},
			{name: "negative", env: "foo", store: Memory(), opts: []Option{WithRenewBefore(-1)}, want: esper.ErrInvalidArgument},
			{name: "client option", env: "foo", store: Memory(), opts: []Option{WithClientOptions(esper.WithTimeout(-1)), nil}, want: esper.ErrInvalidArgument},
			{name: "save fails", env: "foo", store: &faulty{Store: Memory(), save: func([]byte) error { return errDisk }}, opts: []Option{first}, want: errDisk},
			{name: "load fails", env: "foo", store: &faulty{Store: Memory(), load: func() error { return errDisk }}, opts: []Option{first}, want: errDisk},
		} {
			server.fault, server.info = nil, nil
			server.revoke(stubFirst)
			if test.prepare != nil {
				test.prepare()
			}
			source, err := Open(t.Context(), test.env, test.store, append([]Option{client}, test.opts...)...)
			if err == nil || source != nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), stubFirst) {
				t.Errorf("%s: %v", test.name, err)
			}
		}
		if _, err := Open(nil, "foo", Memory()); !errors.Is(err, esper.ErrInvalidArgument) { //nolint:staticcheck // on purpose
			t.Errorf("nil context: %v", err)
		}
		if n := server.counted("renew"); n != 0 {
			t.Errorf("%d renewals", n)
		}
	})
}
