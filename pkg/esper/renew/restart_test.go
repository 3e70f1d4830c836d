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

// After a crash during a renewal, the server is asked about the key once that renewal cannot be under way any more: 95
// seconds after the next process has read of it, whatever the times in the document.
func TestAfterACrash(t *testing.T) {
	for name, test := range map[string]struct{ revoked, down bool }{"not renewed": {}, "renewed": {revoked: true}, "cannot be told": {down: true}} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), Memory()
			put(t, store, policy.Document{IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day), Attempt: begunAttempt(time.Hour)})
			source := opened(t, server, store)
			if test.revoked {
				server.revoke("the-answer-never-arrived")
			}
			if test.down {
				server.fault = func(*http.Request, string, func() *http.Response) (*http.Response, error) { return nil, errStub }
			}
			calls := func(d time.Duration) (err error) {
				for range d / time.Second {
					_, err = source.Token()
					time.Sleep(time.Second)
				}
				return err
			}
			if err := calls(94 * time.Second); err != nil || server.counted("info") != 0 {
				t.Errorf("%s: in the first 94 seconds: %v, asked %d times", name, err, server.counted("info"))
			}
			err := calls(140 * time.Second)
			status := source.Status()
			if lost := errors.Is(err, ErrKeyLost); lost != test.revoked || server.counted("info") == 0 || server.counted("renew") != 0 || (status.LastError != nil) != (test.revoked || test.down) {
				t.Errorf("%s: %v, %d questions, %d renewals: %+v", name, err, server.counted("info"), server.counted("renew"), status)
			}
			if !test.revoked {
				return
			}
			// Every process knows at once that the key is lost, and asks the server before it says so.
			asked, begun := server.counted("info"), time.Now()
			other := opened(t, server, store)
			for range 20 {
				if _, err := other.Token(); !errors.Is(err, ErrKeyLost) {
					t.Errorf("another process: %v", err)
				}
			}
			if n := server.counted("info") - asked; n != 1 || time.Since(begun) != 0 {
				t.Errorf("another process asked %d times, and its callers waited %v, want one question", n, time.Since(begun))
			}
		})
	}
}

// If a key has ended by this clock, but the server still accepts it, callers get it. It is renewed once the attempt
// of another process is over.
func TestEndedOnlyByThisClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		put(t, store, policy.Document{IssuedAt: wallClock().Add(-time.Hour), ExpiresAt: wallClock().Add(4 * time.Second), Attempt: begunAttempt(0)})
		source := opened(t, server, store)
		for range 16 {
			wantKey(t, source, stubFirst)
			time.Sleep(5 * time.Second)
		}
		if n := server.counted("renew"); n != 0 {
			t.Errorf("%d renewals while that of another process may be under way", n)
		}
		time.Sleep(20 * time.Second)
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
