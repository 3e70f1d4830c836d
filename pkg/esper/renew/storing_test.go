package renew

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// If saving a new key fails, it is saved again and again, before callers get it.
func TestStoringFails(t *testing.T) {
	for _, times := range []int{1, 5, 300} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			failures := 0
			store.set(nil, func(data []byte) error {
				if failures < times && strings.Contains(string(data), `"key-1"`) {
					failures++
					return errDisk
				}
				return nil
			})
			if err := source.RenewIfDue(t.Context()); err != nil || stored(t, store).Key != key("key-1") || server.counted("renew") != 1 {
				t.Errorf("after %d failed saves the new key is not stored, or was renewed again: %v", times, err)
			}
			wantKey(t, source, "key-1")
		})
	}
}

// If a new key cannot be saved for long, it is used from memory, and saved as soon as that is possible.
func TestStoringFailsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		var log strings.Builder
		server, store, source := advisory(t, nil, told.option(), logTo(&log))
		store.set(nil, diskFullFor(`"key-1"`))
		begun := time.Now()
		err := source.RenewIfDue(t.Context())
		if !errors.Is(err, ErrNotSaved) || !errors.Is(err, errDisk) || time.Since(begun) > 3*time.Minute {
			t.Errorf("RenewIfDue: %v after %v", err, time.Since(begun))
		}
		wantKey(t, source, "key-1")
		status := source.Status()
		if status.Saved || !errors.Is(status.LastError, errDisk) {
			t.Errorf("Status: %+v", status)
		}
		synctest.Wait()
		if len(told) != 1 || told[0].Kind != Renewed || told[0].Status.Saved || !errors.Is(told[0].Status.LastError, errDisk) || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "saved=false") {
			t.Errorf("the function of WithOnChange or the log was not told of the failed save: %+v, log %s", told, &log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := source.Run(ctx); !errors.Is(err, ErrNotSaved) {
			t.Errorf("Run: %v", err)
		}
		store.set(nil, nil)
		time.Sleep(time.Minute)
		if err := source.Close(); err != nil || stored(t, store).Key != key("key-1") || server.counted("renew") != 1 {
			t.Errorf("Close: %v, %d renewals", err, server.counted("renew"))
		}
	})
}

// TestStoringFailsAlways has a store that cannot be written while several keys, one after the other, come to their
// end.
func TestStoringFailsAlways(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes long")
	}
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		store.set(nil, func([]byte) error { return errDisk })
		for range 200 * 8 {
			if !works(server, source) {
				t.Fatalf("no valid key at %v: %+v", time.Now(), source.Status())
			}
			time.Sleep(3*time.Hour - time.Minute)
			if end := source.Status().ExpiresAt; time.Until(end) < 4*time.Hour {
				time.Sleep(time.Until(end) - time.Minute) // the mandatory window
			}
		}
		if n := server.counted("renew"); n != 3 { // each just before the end of a key, as no attempt can be noted
			t.Errorf("%d renewals, want 3", n)
		}
		store.set(nil, nil)
		time.Sleep(2 * time.Hour)
		if !works(server, source) || !source.Status().Saved || stored(t, store).Key != key("key-3") {
			t.Errorf("the key is not stored after the store can be written again: %+v", source.Status())
		}
	})
}

// While a store cannot be read, the key is renewed only in its last minutes, the store is not overwritten, and
// the key is not given up. If the store is empty, the key is saved there again.
func TestStoreUnreadable(t *testing.T) {
	for name, spoil := range map[string]func(*faulty){
		"error":   func(s *faulty) { s.set(func() error { return errDisk }, nil) },
		"garbage": func(s *faulty) { overwrite(s.Store, "{") },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			spoil(store)
			if n := renewFor(t, server, source, 9*day, time.Minute); n != 0 || source.Status().LastError == nil {
				t.Errorf("%s: %d renewals while the key is valid, %v", name, n, source.Status().LastError)
			}
			wantKey(t, source, stubFirst)
			time.Sleep(time.Until(source.Status().ExpiresAt) - 4*time.Minute)
			_, _ = source.Token()
			time.Sleep(2 * time.Minute)
			wantKey(t, source, "key-1")
			if status := source.Status(); status.Saved {
				t.Errorf("%s: %+v", name, status)
			}
			if name == "garbage" {
				if data, _, _ := store.Load(t.Context()); string(data) != "{" {
					t.Errorf("the document was replaced by %s", data)
				}
			}
			server.revoke() // no process can know whether the store has another key
			if n := renewFor(t, server, source, time.Hour, time.Minute); n != 0 || source.Status().Lost || errors.Is(source.Status().LastError, ErrKeyLost) {
				t.Errorf("%s: the key was renewed or given up while the store could not be read: %+v", name, source.Status())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, store, source := advisory(t, nil)
		time.Sleep(-20 * day)
		store.Store = Memory()
		time.Sleep(time.Minute)
		_, _ = source.Token()
		if d := stored(t, store); d.Key.IsZero() || !source.Status().Saved {
			t.Errorf("an empty store did not get the key again: %+v", source.Status())
		}
	})
}

func overwrite(s Store, text string) {
	_, version, _ := s.Load(context.Background())
	_, _ = s.Save(context.Background(), []byte(text), version)
}

// An old document comes back, from a backup or from a delayed write. The source goes on using the new key, which a renewal or
// a person has brought, and stores it again.
func TestOldDocumentComesBack(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, server *stub, source *Source) string{
		"renewed": func(t *testing.T, _ *stub, source *Source) string {
			if err := source.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			return "key-1"
		},
		"renewed, and the old key works": func(t *testing.T, server *stub, source *Source) string {
			server.keepOld = true
			if err := source.Renew(t.Context()); err != nil {
				t.Error(err)
			}
			return "key-1"
		},
		"adopted": func(t *testing.T, server *stub, source *Source) string {
			server.revoke("given")
			if err := source.Adopt(t.Context(), key("given")); err != nil {
				t.Error(err)
			}
			return "given"
		},
	} {
		for _, later := range []time.Duration{0, 7 * day} {
			synctest.Test(t, func(t *testing.T) {
				server, store := newStub(90*day), Memory()
				source := opened(t, server, store)
				old, _, _ := store.Load(t.Context())
				want := replace(t, server, source)
				time.Sleep(later)
				overwrite(store, string(old))
				for range 30 {
					time.Sleep(time.Minute)
					wantKey(t, source, want)
					if status, err := get(t, source, server, http.MethodGet); status != 200 || err != nil {
						t.Errorf("%s: a request after the old document came back: %d, %v", name, status, err)
					}
				}
				if d := stored(t, store); d.Key != key(want) || server.counted("renew") > 1 {
					t.Errorf("%s: %+v is stored, want %s; %d renewals", name, d, want, server.counted("renew"))
				}
			})
		}
	}
}

// During a renewal, another key comes into the store. The new key, whose only copy is in memory, is saved at once, and the
// other one is set aside in its document, until the server has refused it twice.
func TestSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		server.fault = func(_ *http.Request, op string, act func() *http.Response) (*http.Response, error) {
			switch op {
			case "info":
				return reply(404, ""), nil
			case "renew":
				put(t, store, living("dead", 90*day))
			}
			return act(), nil
		}
		wantKey(t, source, "key-1")
		time.Sleep(2 * time.Minute)
		if d := stored(t, store); d.Key != key("key-1") || d.SetAside != key("dead") || !source.Status().Saved {
			t.Errorf("stored %s, set aside %v, want the new key, and the other one set aside", d.Key.Reveal(), d.Aside())
		}
		server.fault = nil
		asked := server.checks()
		for range 10 {
			time.Sleep(time.Minute)
			_ = works(server, source)
		}
		if d := stored(t, store); d.Key != key("key-1") || !d.SetAside.IsZero() || server.checks()-asked > 6 {
			t.Errorf("stored %s, set aside %v after %d questions, want key-1 alone after the server has refused the other key twice", d.Key.Reveal(), d.Aside(), server.checks()-asked)
		}
	})
}

func logTo(w io.Writer) Option {
	return WithLogger(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
}
