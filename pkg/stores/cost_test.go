//go:build linux

package stores

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// counting is a store that counts its saves.
type counting struct {
	renew.Store
	saves *int
}

func (c counting) Save(ctx context.Context, document []byte, version string) (string, error) {
	*c.saves++
	return c.Store.Save(ctx, document, version)
}

// TestCost measures how often eight callers can load the document in a second, and the bytes that a read and a renewal
// send and receive.
func TestCost(t *testing.T) {
	const callers, lasts, reads = 8, 2 * time.Second, 100
	for name := range strings.FieldsSeq(stores) { // one after the other, so that none disturbs another
		e, server, key := get(t, name), newServer(t), newName()
		_, err := openSource(t, server, e.at(key))
		must(t, err)
		store := storeAt(t, e.at(key))
		var looks atomic.Int64
		var all sync.WaitGroup
		began := time.Now()
		for range callers {
			all.Go(func() {
				for time.Since(began) < lasts && !t.Failed() {
					if _, _, err := store.Load(t.Context()); err != nil {
						t.Error(err)
					}
					looks.Add(1)
				}
			})
		}
		all.Wait()
		results.rates = append(results.rates, fmt.Sprintf("%s %.0f", name, float64(looks.Load())/time.Since(began).Seconds()))
		if e.listens == "" {
			continue
		}
		w, saves := wireTo(t, e.listens, nil), 0
		store = counting{storeAt(t, e.via(w.Addr().String()).at(key)), &saves}
		source, err := renew.Open(t.Context(), server.URL, store)
		must(t, err)
		before := len(w.sent())
		must(t, source.Renew(t.Context()))
		must(t, source.Close())
		renewal := len(w.sent()) - before
		if saves != 2 { // one notes the attempt, the other saves the new key
			t.Errorf("%s: %d saves for a renewal, want 2", name, saves)
		}
		before = len(w.sent())
		for range reads {
			_, _, err := store.Load(t.Context())
			must(t, err)
		}
		reportCost(e, float64(len(w.sent())-before)/reads, float64(renewal))
	}
}
