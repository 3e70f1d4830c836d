package renew

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDisk = errors.New("no space left on device")

// faulty is a store whose methods fail as told.
type faulty struct {
	Store
	mu   sync.Mutex
	load func() error
	save func(data []byte) error
}

func (f *faulty) set(load func() error, save func([]byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.load, f.save = load, save
}

func (f *faulty) Load(ctx context.Context) ([]byte, error) {
	f.mu.Lock()
	load := f.load
	f.mu.Unlock()
	if load != nil && load() != nil {
		return nil, load()
	}
	return f.Store.Load(ctx)
}

func (f *faulty) Save(ctx context.Context, data []byte) error {
	f.mu.Lock()
	save := f.save
	f.mu.Unlock()
	if save != nil {
		if err := save(data); err != nil {
			return err
		}
	}
	return f.Store.Save(ctx, data)
}

// TestStoringFails: the new key lives in memory, and is stored as soon as that is possible.
func TestStoringFails(t *testing.T) {
	for _, times := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) {
			var told recorder
			var log strings.Builder
			server, store, source := advisory(t, nil, told.option(), logTo(&log))
			failures := 0
			store.set(nil, func(data []byte) error {
				if failures < times && strings.Contains(string(data), "key-1") {
					failures++
					return errDisk
				}
				return nil
			})
			wantKey(t, source, stubFirst)
			synctest.Wait()
			wantKey(t, source, "key-1")
			status := source.Status()
			if status.Saved || !errors.Is(status.LastError, errDisk) || !strings.Contains(status.LastError.Error(), "dies with this process") {
				t.Errorf("Status: %+v", status)
			}
			if len(told) != 1 || told[0].Saved || !errors.Is(told[0].LastError, errDisk) || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "saved=false") {
				t.Errorf("OnRenew %+v, log %s", told, &log)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // nobody asks
			defer cancel()
			_ = source.Run(ctx)
			if status := source.Status(); !status.Saved || status.LastError != nil || stored(t, store).Key != "key-1" || failures != times {
				t.Errorf("after an hour: %+v, %d failures", status, failures)
			}
			if n := server.counted("renew"); n != 1 {
				t.Errorf("%d renewals, want 1", n)
			}
		})
	}
}

// TestStoringFailsAlways goes through several lives of a key, with a disk that is full.
func TestStoringFailsAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		store.set(nil, func([]byte) error { return errDisk })
		for range 300 * 24 {
			if !works(server, source) {
				t.Fatalf("%v: %+v", time.Now(), source.Status())
			}
			time.Sleep(time.Hour - time.Minute)
			if end := source.Status().ExpiresAt; time.Until(end) < 2*time.Hour {
				time.Sleep(time.Until(end) - time.Minute) // the mandatory window
			}
		}
		if n := server.counted("renew"); n != 4 { // each just before the end, as the journal cannot be written
			t.Errorf("%d renewals, want 4", n)
		}
		store.set(nil, nil)
		time.Sleep(2 * time.Hour)
		if !works(server, source) || !source.Status().Saved || stored(t, store).Key != "key-4" {
			t.Errorf("not stored afterwards: %+v", source.Status())
		}
	})
}

// TestNoCheckIsForgotten: the journal could not be written, so only memory knows of the attempt.
func TestNoCheckIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(3*time.Hour), &faulty{Store: Memory()}
		server.keepOld = true
		source := opened(t, server, store)
		store.set(nil, func([]byte) error { return errDisk })
		time.Sleep(3*time.Hour - time.Minute)
		down := false
		server.fault = func(_ *http.Request, op string, act func() *http.Response) (*http.Response, error) {
			if op == "renew" {
				down = true
				return nil, errStub
			}
			if down {
				return reply(503, ""), nil
			}
			return act(), nil
		}
		_, _ = source.Token()
		if n := server.counted("renew"); n != 1 {
			t.Fatalf("%d renewals in the mandatory window, want 1", n)
		}
		store.set(nil, nil)
		if n := renewFor(t, server, source, 2*time.Hour, 10*time.Second); n != 0 {
			t.Errorf("%d renewals without a check", n)
		}
		if a := stored(t, store).Attempt; a == nil {
			t.Error("the journal was not written afterwards")
		}
	})
}

func TestStoreUnreadable(t *testing.T) {
	for name, spoil := range map[string]func(*faulty){
		"error":   func(s *faulty) { s.set(func() error { return errDisk }, nil) },
		"gone":    func(s *faulty) { s.Store = Memory() },
		"garbage": func(s *faulty) { _ = s.Store.Save(context.Background(), []byte("{")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			spoil(store)
			if n := renewFor(t, server, source, 9*day, time.Minute); n != 0 || source.Status().LastError == nil {
				t.Errorf("%s: %d renewals while the key is valid, %v", name, n, source.Status().LastError)
			}
			wantKey(t, source, stubFirst)
			time.Sleep(time.Until(source.Status().ExpiresAt) - time.Minute)
			wantKey(t, source, "key-1")
			if status := source.Status(); status.Saved != (name == "gone") {
				t.Errorf("%s: %+v", name, status)
			}
			if name == "garbage" {
				if data, _ := store.Load(t.Context()); string(data) != "{" {
					t.Errorf("the document was replaced by %s", data)
				}
			}
		})
	}
}

// TestLoser: the store's lease was lost, and another process stores a key during the renewal.
func TestLoser(t *testing.T) {
	for name, test := range map[string]struct {
		other   string // the key that comes in meanwhile; "other" works, "dead" does not
		renewal func(act func() *http.Response) (*http.Response, error)
		want    string
	}{
		"both renewed":     {"other", func(act func() *http.Response) (*http.Response, error) { return act(), nil }, "other"},
		"the other died":   {"dead", func(act func() *http.Response) (*http.Response, error) { return act(), nil }, "key-1"},
		"refused":          {"other", fails(403), "other"},
		"unauthorized":     {"other", fails(401), "other"},
		"outcome unknown":  {"other", fails(500), "other"},
		"answer unread":    {"other", func(func() *http.Response) (*http.Response, error) { return reply(201, "x"), nil }, "other"},
		"old key replaced": {"other", func(func() *http.Response) (*http.Response, error) { return nil, errStub }, "other"},
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			server.keepOld = name != "old key replaced"
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
				put(t, store, document{Key: test.other, IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day)})
				if test.other == "other" {
					server.mu.Lock()
					server.add("other")
					if !server.keepOld {
						delete(server.keys, stubFirst)
					}
					server.mu.Unlock()
				}
				return test.renewal(act)
			})
			wantKey(t, source, stubFirst)
			synctest.Wait()
			if d := stored(t, store); d.Key != test.want || d.Attempt != nil {
				t.Errorf("%s: stored %s, attempt %v", name, d.Key, d.Attempt)
			}
			server.fault = nil
			time.Sleep(11 * time.Minute)
			if !works(server, source) {
				t.Errorf("%s: %v", name, source.Status().LastError)
			}
			wantKey(t, source, test.want)
		})
	}
}

// TestUnclear: a key came into the store during the renewal, and the server cannot be asked.
func TestUnclear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		server.fault = func(_ *http.Request, op string, act func() *http.Response) (*http.Response, error) {
			if op == "info" {
				return reply(404, ""), nil
			}
			put(t, store, document{Key: "dead", IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day)})
			return act(), nil
		}
		wantKey(t, source, stubFirst)
		synctest.Wait()
		wantKey(t, source, "key-1")
		if d := stored(t, store); d.Key != "dead" || source.Status().Saved {
			t.Errorf("stored %s", d.Key)
		}
		server.fault = nil
		time.Sleep(time.Hour)
		_ = works(server, source)
		if d := stored(t, store); d.Key != "key-1" || !source.Status().Saved {
			t.Errorf("stored %s", d.Key)
		}
	})
}

func logTo(w *strings.Builder) Option {
	return WithLogger(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
}
