package renew

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// After a failure, callers get the key that they had, and the renewal is tried again after pauses that grow, or after the
// server's Retry-After. Status and the function of WithOnChange say why.
func TestAdvisoryFailureKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		server, store, source := advisory(t, fails(429, "Retry-After", "900"), told.option())
		var gaps []time.Duration
		for n := 0; n < 10; {
			wantKey(t, source, stubFirst)
			synctest.Wait()
			if len(server.posted()) > n {
				n = len(server.posted())
				status := source.Status()
				if status.LastError == nil || !strings.Contains(status.LastError.Error(), "nothing was renewed") || !status.Saved {
					t.Fatalf("Status: %+v", status)
				}
				gaps = append(gaps, time.Until(status.NextAttempt))
			}
			if n == 1 {
				server.fault = only("renew", fails(403))
			}
			time.Sleep(5 * time.Second)
		}
		for i, gap := range gaps {
			middle := min(30*time.Second<<i, day)
			off := middle/2 + time.Second
			if i == 0 {
				middle, off = 15*time.Minute, 0 // as Retry-After says
			}
			if (gap - middle).Abs() > off {
				t.Errorf("wait %d is %v, want %v", i+1, gap, middle)
			}
		}
		if len(told) != 10 || told[0].Kind != Failed || told[0].Status.LastError == nil || told[0].Status.NextAttempt.IsZero() {
			t.Errorf("the function of WithOnChange was called %d times, want 10: %+v", len(told), told)
		}
		if d := stored(t, store); d.Attempt.ID != "" {
			t.Error("the note of the attempt is still in the store")
		}
		server.fault = nil
		time.Sleep(12 * time.Hour)
		wantKey(t, source, "key-1")
		synctest.Wait() // until the function of WithOnChange was called
		if last := told[len(told)-1]; last.Kind != Renewed || last.Status.LastError != nil || source.Status().LastError != nil || len(told) != 11 {
			t.Errorf("after the renewal: %+v", last)
		}
	})
}

// After a renewal of unknown outcome, the old key goes on working. It is checked, and renewed after the pause, by whichever
// process comes first.
func TestUnknownOutcome(t *testing.T) {
	for name, renewal := range map[string]response{"500": fails(500), "reset": resets} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, renewal)
			server.keepOld = true
			wantKey(t, source, stubFirst)
			synctest.Wait()
			d := stored(t, store)
			if d.Attempt.ID == "" || d.Attempt.PID == 0 || d.Attempt.Until.Sub(d.Attempt.Begun) != 90*time.Second || server.checks() != 2 || !source.Status().InDoubt {
				t.Fatalf("%s: attempt %v, %d checks, %+v", name, d.Attempt, server.checks()-1, source.Status())
			}
			again := opened(t, server, store) // another process starts with that document
			for _, s := range []*Source{source, again} {
				if n := renewFor(t, server, s, 40*time.Second, time.Second); n != 0 {
					t.Errorf("%s: %d renewals within the pause", name, n)
				}
			}
			server.fault = nil
			checks := server.checks()
			time.Sleep(2 * time.Minute)
			wantKey(t, again, "key-1")
			if n := server.checks() - checks; n != 1 {
				t.Errorf("%s: %d checks before the second renewal, want 1", name, n)
			}
			if stored(t, store).Attempt.ID != "" {
				t.Errorf("%s: the note of the attempt is still in the store", name)
			}
			time.Sleep(2 * time.Minute)
			wantKey(t, source, "key-1") // taken over from the store
		})
	}
}
