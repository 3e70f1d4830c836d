package renew

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// begunAttempt returns an attempt that another process began some time ago.
func begunAttempt(ago time.Duration) policy.Attempt {
	begun := wallClock().Add(-ago)
	return policy.Attempt{ID: "other.1", Host: "elsewhere", PID: 1, Begun: begun, Until: begun.Add(90 * time.Second)}
}

// The first call after a crash during a renewal waits for a check of the key, so that callers do
// not get a key that the server has replaced.
func TestFirstCallAfterACrash(t *testing.T) {
	interrupted := func(t *testing.T) Store {
		store := Memory()
		put(t, store, policy.Document{IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day), Attempt: begunAttempt(time.Hour)})
		return store
	}
	t.Run("not renewed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := newStub(90 * day)
			source := opened(t, server, interrupted(t))
			wantKey(t, source, stubFirst)
			if info, posts := server.counted("info"), server.counted("renew"); info != 1 || posts != 0 {
				t.Errorf("asked %d times, renewed %d times; want 1 and 0", info, posts)
			}
			wantKey(t, source, stubFirst)
			if info := server.counted("info"); info != 1 {
				t.Errorf("asked %d times, want 1", info)
			}
		})
	})
	t.Run("renewed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), interrupted(t)
			server.revoke("the-answer-never-arrived")
			source := opened(t, server, store)
			wantKey(t, source, stubFirst) // after one refusal, callers still get the key
			for range 70 {
				_, _ = source.Token()
				time.Sleep(time.Second)
			}
			if token, err := source.Token(); !errors.Is(err, ErrKeyLost) {
				t.Errorf("Token: %v, %v; want ErrKeyLost", token != nil, err)
			}
			if posts := server.counted("renew"); posts != 0 {
				t.Errorf("%d renewals, want none", posts)
			}
			// A job that makes one call knows of the first refusal from the document.
			time.Sleep(time.Hour)
			if _, err := opened(t, server, store).Token(); !errors.Is(err, ErrKeyLost) {
				t.Errorf("a job an hour later: %v, want ErrKeyLost", err)
			}
		})
	})
	t.Run("cannot be told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server := newStub(90 * day)
			server.fault = func(*http.Request, string, func() *http.Response) (*http.Response, error) { return nil, errStub }
			source := opened(t, server, interrupted(t))
			wantKey(t, source, stubFirst)
			if source.Status().LastError == nil {
				t.Error("Status has no error, although the server could not be asked about the key")
			}
			begin := time.Now()
			wantKey(t, source, stubFirst)
			if waited := time.Since(begin); waited != 0 {
				t.Errorf("the second call waited %v", waited)
			}
		})
	})
}

// If a key has ended by this clock, but the server still accepts it, callers get it. It is renewed once the attempt
// of another process is over.
func TestEndedOnlyByThisClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		put(t, store, policy.Document{IssuedAt: wallClock().Add(-time.Hour), ExpiresAt: wallClock().Add(4 * time.Second), Attempt: begunAttempt(0)})
		source := opened(t, server, store)
		for range 16 { // the first call waits ten seconds for the other process
			wantKey(t, source, stubFirst)
			time.Sleep(5 * time.Second)
		}
		if n := server.counted("renew"); n != 0 {
			t.Errorf("%d renewals while that of another process may be under way", n)
		}
		time.Sleep(10 * time.Second)
		wantKey(t, source, "key-1")
	})
}

// While an expired key cannot be renewed, the error says why. Only the first call waits.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(time.Hour)
		source := opened(t, server, Memory())
		server.fault = func(*http.Request, string, func() *http.Response) (*http.Response, error) { return reply(503, ""), nil }
		time.Sleep(time.Hour + time.Minute)
		_, err := source.Token()
		begun := time.Now()
		_, again := source.Token()
		for _, err := range []error{err, again} {
			if !errors.Is(err, ErrKeyExpired) || errors.Is(err, ErrKeyLost) || !errors.Is(err, esper.ErrServer) {
				t.Errorf("Token: %v; want ErrKeyExpired and why it is not renewed", err)
			}
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("the second call waited %v", d)
		}
	})
}
