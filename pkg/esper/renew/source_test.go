package renew

import (
	"cmp"
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

// hang has the server carry out a renewal at once, and answer it after d.
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
		time.Sleep(90*day - 4*time.Minute) // within the mandatory window
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
// a failure, no caller waits until the pause is over.
func TestOneCallerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(90 * day)
		source := opened(t, server, Memory())
		time.Sleep(80 * day)
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
		server.fault = only("renew", func(func() *http.Response) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return reply(503, ""), nil
		})
		for i, want := range []time.Duration{3 * time.Second, 0, 0, 0} {
			begun := time.Now()
			wantKey(t, source, "key-1")
			if d := time.Since(begun); d != want {
				t.Errorf("call %d after the key is due waited %v, want %v", i, d, want)
			}
		}
	})
}

func TestNobodyWaitsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(time.Hour)
		source := opened(t, server, Memory())
		go func() { _ = source.Run(t.Context()) }()
		server.fault = hang(29 * time.Second)
		begun := time.Now()
		for server.counted("renew") == 0 {
			time.Sleep(time.Second)
			asked := time.Now()
			_, err := source.Token()
			if d := time.Since(asked); d != 0 || err != nil {
				t.Fatalf("after %v a caller waited %v: %v", time.Since(begun), d, err)
			}
		}
		time.Sleep(time.Minute)
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

func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(2*day), Memory()
		source := opened(t, server, store)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- source.Run(ctx) }()
		time.Sleep(3 * day)
		synctest.Wait()
		if n := server.counted("renew"); n < 2 || n > 4 {
			t.Errorf("%d renewals in 3 days, want 2 to 4: keys of 2 days are renewed after 18 to 24 hours", n)
		}
		if !server.valid(stored(t, store).Key.Reveal()) || source.Status().LastError != nil || !source.Status().Saved {
			t.Errorf("after 3 days: %+v", source.Status())
		}
		if n := server.checks(); n < 3 || n > 5 {
			t.Errorf("%d checks in 3 days, want one at the beginning and one each day", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// A source whose key is lost uses any other key that works, whoever stores it.
func TestLostEnds(t *testing.T) {
	t.Parallel()
	for name, mend := range map[string]func(t *testing.T, source *Source, store Store){
		"stored by another process": func(t *testing.T, _ *Source, store Store) { put(t, store, living("operator", 5*day)) },
		"adopted": func(t *testing.T, source *Source, _ Store) {
			if err := source.Adopt(t.Context(), key("operator")); err != nil {
				t.Error(err)
			}
		},
		"a key from before is adopted": func(t *testing.T, source *Source, _ Store) {
			if err := source.Adopt(t.Context(), key(stubFirst)); err != nil {
				t.Error(err)
			}
		},
		"accepted again": func(*testing.T, *Source, Store) {},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(5*day), Memory()
			var log strings.Builder
			source := opened(t, server, store, logTo(&log))
			if err := source.Renew(t.Context()); err != nil {
				t.Fatal(err)
			}
			go func() { _ = source.Run(t.Context()) }()
			server.revoke()
			time.Sleep(25 * time.Hour) // until Run has asked the server
			if _, err := source.Token(); !errors.Is(err, ErrKeyLost) || !source.Status().Lost || !errors.Is(err, esper.ErrUnauthorized) {
				t.Fatalf("%s: Token: %v", name, err)
			}
			source.tell.wait()
			if !strings.Contains(log.String(), ErrKeyLost.Error()) {
				t.Errorf("%s: the log does not say that the key is lost:\n%s", name, log.String())
			}
			want := map[string]string{"a key from before is adopted": stubFirst, "accepted again": "key-1"}[name]
			want = cmp.Or(want, "operator")
			server.revoke(want)
			mend(t, source, store)
			wait := time.Minute + time.Second // until the next read of the store
			if name == "accepted again" {
				wait = 5 * time.Minute // until the next check
			}
			time.Sleep(wait)
			wantKey(t, source, want)
			if s := source.Status(); s.Lost || s.LastError != nil {
				t.Errorf("%s: the key is still lost, or an error remains: %+v", name, s)
			}
		})
	}
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
			want    error  // nil: any error
			text    string // in the error
		}{
			{name: "no initial token", env: "foo", store: Memory(), want: esper.ErrInvalidArgument, text: "WithInitialToken"},
			{name: "no key", env: "foo", store: Memory(), want: ErrNoKey, text: "is empty"},
			{name: "no key to follow", env: "foo", store: Memory(), opts: []Option{ReadOnly()}, want: ErrNoKey, text: "is empty"},
			{name: "refused", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() { server.revoke() }, want: esper.ErrUnauthorized, text: "the initial key"},
			{name: "network down", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() { server.fault = down }, want: io.EOF},
			{name: "no developer app", env: "foo", store: Memory(), opts: []Option{first}, prepare: func() {
				server.info = func(string, time.Time, time.Time) string {
					return `{"id": "570", "developer_app": null, "enterprise": "` + stubEnterprise + `"}`
				}
			}, want: ErrNotRenewable, text: "belongs to no developer app"},
			{name: "store nil", env: "foo", want: esper.ErrInvalidArgument, text: "the store is nil"},
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
			if viaTokens && test.name == "no developer app" { // a renewal through a personal access token does not need one
				test.opts = append(test.opts, func(s *settings) { s.tokens = false })
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
			t.Errorf("Open made %d renewals, want none", n)
		}
	})
}
