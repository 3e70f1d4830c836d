package renew

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// liar is a store whose saves often report something wrong, as far as the contract of Store allows that.
type liar struct {
	Store
	lie   string
	often int // how many calls in a hundred go wrong

	mu   sync.Mutex
	rand *rand.Rand
	told int // how many calls went wrong
}

func (l *liar) lies() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lies := l.rand.IntN(100) < l.often
	if lies {
		l.told++
	}
	return lies
}

func (l *liar) Load(ctx context.Context) ([]byte, string, error) {
	if l.lie == "changes its version by itself" && l.lies() {
		if data, version, err := l.Store.Load(ctx); err == nil && data != nil {
			_, _ = l.Store.Save(ctx, data, version)
		}
	}
	return l.Store.Load(ctx)
}

func (l *liar) Save(ctx context.Context, data []byte, version string) (string, error) {
	if l.lie == "changes its version by itself" || !l.lies() {
		return l.Store.Save(ctx, data, version)
	}
	switch l.lie {
	case "writes and fails":
		_, _ = l.Store.Save(ctx, data, version)
	case "writes and times out":
		_, _ = l.Store.Save(ctx, data, version)
		<-ctx.Done()
		return "", ctx.Err()
	case "writes later":
		l.mu.Lock()
		delay := time.Duration(l.rand.IntN(200)) * time.Second
		l.mu.Unlock()
		kept := append([]byte(nil), data...)
		go func() {
			time.Sleep(delay)
			_, _ = l.Store.Save(context.WithoutCancel(ctx), kept, version)
		}()
	case "conflicts about its own write":
		_, _ = l.Store.Save(ctx, data, version)
		return "", ErrConflict
	}
	return "", errors.New("the connection was reset")
}

// Whatever a store reports wrongly, no key is lost, and no key is renewed twice.
func TestLyingStore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes long")
	}
	for _, lie := range []string{"fails", "writes and fails", "writes and times out", "writes later", "conflicts about its own write", "changes its version by itself"} {
		for _, often := range []int{30, 100} {
			if lie == "fails" && often == 100 {
				continue // each process would renew for itself in the last minutes; TestStoringFailsAlways tests one process
			}
			for _, keepOld := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					server := newStub(10 * day)
					server.keepOld = keepOld
					store := &liar{Store: Memory(), lie: lie, rand: rand.New(rand.NewPCG(uint64(often), 7))}
					sources := []*Source{opened(t, server, store), opened(t, server, store)}
					store.often = often
					last := func() { // if no save succeeds, a renewal waits for the last minutes of the key
						if end := sources[1].Status().ExpiresAt; time.Until(end) < 5*time.Hour {
							time.Sleep(time.Until(end) - 2*time.Minute)
						}
					}
					for range 25 * 6 {
						for i, s := range sources {
							if status, err := get(t, s, server, http.MethodGet); status != 200 || err != nil {
								t.Fatalf("%s, %d %%: process %d has no valid key at %v: %d, %v: %+v", lie, often, i, time.Now(), status, err, s.Status())
							}
						}
						time.Sleep(4 * time.Hour)
						last()
					}
					if n := server.counted("renewed"); n < 2 || n > 4 {
						t.Errorf("%s, %d %%: %d renewals in 25 days of 10-day keys, want 2 to 4", lie, often, n)
					}
					if store.told == 0 {
						t.Errorf("%s: no call of the store went wrong", lie)
					}
				})
			}
		}
	}
}

// An old document comes back, from a backup or from a delayed write. The source goes on using the new key, and stores it
// again.
func TestOldDocumentComesBack(t *testing.T) {
	for _, keepOld := range []bool{false, true} {
		for name, later := range map[string]time.Duration{"at once": 0, "after a week": 7 * day} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), Memory()
				server.keepOld = keepOld
				source := opened(t, server, store)
				old, _, _ := store.Load(t.Context())
				if err := source.Renew(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(later)
				_, version, _ := store.Load(t.Context())
				if _, err := store.Save(t.Context(), old, version); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					time.Sleep(time.Minute)
					if status, err := get(t, source, server, http.MethodGet); status != 200 || err != nil {
						t.Errorf("%s: a request after the old document came back: %d, %v", name, status, err)
					}
				}
				wantKey(t, source, "key-1")
				if d := stored(t, store); d.Key != key("key-1") || d.Serial != 2 {
					t.Errorf("%s: %+v is stored, want key-1 with serial 2", name, d)
				}
				if n := server.counted("renew"); n != 1 || source.Status().Lost {
					t.Errorf("%s: %d renewals, want 1, or the key is lost: %+v", name, n, source.Status())
				}
			})
		}
	}
}

// An old document comes back from before a person gave another key. The source has to ask the server which of the two
// keys works.
func TestBackupOfAnotherLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source := opened(t, server, store)
		old, _, _ := store.Load(t.Context())
		server.revoke("given")
		if err := source.Adopt(t.Context(), key("given")); err != nil {
			t.Fatal(err)
		}
		_, version, _ := store.Load(t.Context())
		if _, err := store.Save(t.Context(), old, version); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			time.Sleep(time.Minute)
			wantKey(t, source, "given")
		}
		if d := stored(t, store); d.Key != key("given") {
			t.Errorf("%+v is stored, want the given key", d)
		}
	})
}

// A source starts right after a renewal by another, and reads an old copy of the document. It takes over the new key.
func TestStaleRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), &faulty{Store: Memory()}
		source := opened(t, server, store)
		old, version, _ := store.Load(t.Context())
		if err := source.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		stale := &staleStore{Store: store, document: old, version: version}
		other := opened(t, server, stale) // begins with the old copy
		for range 5 {
			_, _ = get(t, other, server, http.MethodGet)
			time.Sleep(time.Minute)
		}
		wantKey(t, other, "key-1")
		if d := stored(t, store); d.Key != key("key-1") || server.counted("renew") != 1 {
			t.Errorf("%+v is stored, want key-1 after one renewal", d)
		}
	})
}

// staleStore returns an old document at the first two reads.
type staleStore struct {
	Store
	document []byte
	version  string
	reads    int
}

func (s *staleStore) Load(ctx context.Context) ([]byte, string, error) {
	if s.reads++; s.reads <= 2 {
		return s.document, s.version, nil
	}
	return s.Store.Load(ctx)
}
