package renew

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Forty sources are opened at the same moment, and later one of them renews their key. Each source reads the store about
// 80 times an hour, and never do all of them read it in the same second.
func TestPollingIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sources = 40
		var mu sync.Mutex
		reads, atOnce, began, perSecond := 0, 0, time.Now(), make(map[time.Duration]int)
		store := newFaulty()
		store.set(func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			reads++
			if second := time.Since(began).Truncate(time.Second); second > 0 { // the reads of Open come before
				perSecond[second]++
				atOnce = max(atOnce, perSecond[second])
			}
			return nil
		}, nil)
		network := instead(t, newStub(90*day))
		var first *Source
		for range sources {
			s, err := Open(t.Context(), "foo", store, WithInitialToken(esper.NewSecret(stubFirst)), network)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close() //nolint:errcheck // nothing is left to save
			go func() { _ = s.Run(t.Context()) }()
			first = s
		}
		time.Sleep(time.Hour)
		if err := first.Renew(t.Context()); err != nil { // all sources take over the new key
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if each := reads / sources / 2; each < 60 || each > 100 || atOnce > 12 {
			t.Errorf("each source reads the store %d times an hour, and %d of %d do in the same second", each, atOnce, sources)
		}
	})
}
