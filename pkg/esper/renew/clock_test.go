package renew

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// The time of the next turn lies too far ahead, as if the clock had been set back. The store is read all the same, with
// Run and without.
func TestClockSetBack(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, store, s := fresh(t)
			loads := 0
			store.set(func(context.Context) error { loads++; return nil }, nil)
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

// No time that decides when something is due has a reading of the monotonic clock, which stands still while a machine
// sleeps.
func TestWallClock(t *testing.T) {
	t.Parallel()
	server, _, s := fresh(t)
	if err := s.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.fault = all(fails(503)) // the renewal fails, and a pause follows
	if err := s.Renew(t.Context()); err == nil {
		t.Error("no error")
	}
	v := s.now.Load()
	for name, at := range map[string]time.Time{
		"the next turn": v.next, "the retry": v.state.Retry, "the advisory window": v.state.Advisory, "the mandatory window": v.state.Mandatory(), "the end": v.state.End,
	} {
		if at.IsZero() || strings.Contains(at.String(), " m=") {
			t.Errorf("%s has a monotonic reading: %v", name, at)
		}
	}
}
