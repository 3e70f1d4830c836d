package renew

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// TestClockSetBack sets the time of the next read of the store too late, as if the clock had been set back. The read
// happens all the same, with Run and without.
func TestClockSetBack(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), &faulty{Store: Memory()}
			s := opened(t, server, store)
			loads := 0
			store.set(func() error { loads++; return nil }, nil)
			s.update(func(n *snapshot) { n.next = time.Now().Add(day) })
			if running {
				go func() { _ = s.Run(t.Context()) }()
			}
			time.Sleep(policy.Poll)
			wantKey(t, s, stubFirst)
			synctest.Wait()
			if loads == 0 {
				t.Errorf("with Run %v: the store was not read", running)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWallClock checks that no time that decides when something is due has a reading of the monotonic clock, which
// stands still while a machine sleeps.
func TestWallClock(t *testing.T) {
	t.Parallel()
	server := newStub(90 * day)
	s := opened(t, server, Memory())
	for i, step := range []func() error{func() error { return nil }, func() error { return s.Check(t.Context()) }, func() error { return s.Renew(t.Context()) }} {
		if i == 2 {
			server.refuse = func(string) error { return errRefused } // the renewal fails, and a pause follows
		}
		if err := step(); (err != nil) != (i == 2) {
			t.Fatalf("step %d: %v", i, err)
		}
		v := s.now.Load()
		for name, at := range map[string]time.Time{
			"the next turn": v.next, "the retry": v.state.Retry, "the advisory window": v.state.Advisory, "the mandatory window": v.state.Mandatory(), "the end": v.state.End,
		} {
			if strings.Contains(at.String(), " m=") {
				t.Errorf("%s has a monotonic reading: %v", name, at)
			}
		}
		if h := s.now.Load(); h.lasts <= 0 || h.lasts > hotLasts {
			t.Errorf("callers do not look at the wall clock for %v", h.lasts)
		}
	}
}
