package renew

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The first call after a crash in the middle of a renewal waits until it is known what became of
// it, so that nobody gets a key that the server has replaced.
func TestFirstCallAfterACrash(t *testing.T) {
	interrupted := func(t *testing.T) Store {
		store := Memory()
		put(t, store, document{IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day), Attempt: newAttempt()})
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
			server := newStub(90 * day)
			server.revoke("the-answer-never-arrived")
			source := opened(t, server, interrupted(t))
			if token, err := source.Token(); !errors.Is(err, ErrKeyLost) {
				t.Errorf("Token: %v, %v; want ErrKeyLost", token != nil, err)
			}
			if posts := server.counted("renew"); posts != 0 {
				t.Errorf("%d renewals, want none", posts)
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
				t.Error("Status does not tell that the key is in doubt")
			}
			begin := time.Now()
			wantKey(t, source, stubFirst)
			if waited := time.Since(begin); waited != 0 {
				t.Errorf("the second call waited %v", waited)
			}
		})
	})
}

// A key that ends while the next renewal has to wait for an interrupted one is an error that a
// program can tell from a lost key, and goes away by itself.
func TestExpiredBeforeTheNextRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		put(t, store, document{IssuedAt: wallClock(), ExpiresAt: wallClock().Add(4 * time.Second), Attempt: newAttempt()})
		source := opened(t, server, store)
		wantKey(t, source, stubFirst)
		for range 2 {
			time.Sleep(5 * time.Second) // at first nothing has been tried but to look
			token, err := source.Token()
			if !errors.Is(err, ErrKeyExpired) || errors.Is(err, ErrKeyLost) || !strings.Contains(err.Error(), "did not end") {
				t.Errorf("Token: %v, %v; want ErrKeyExpired, and what it waits for", token != nil, err)
			}
		}
		time.Sleep(time.Hour)
		if !works(server, source) || server.counted("renew") != 1 {
			t.Errorf("after an hour: %d renewals, want 1 and its key", server.counted("renew"))
		}
	})
}
