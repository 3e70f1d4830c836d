package renew

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// If a new key cannot be saved, it is saved again and again before callers get it; if that fails for long, it is used from
// memory, and saved as soon as that is possible. What knows of it says so. Close begins no renewal, even in the last
// minutes of a key that is in memory alone.
func TestStoringFailsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		var log records
		server, store, source := advisory(t, nil, told.option(), log.option())
		failures := 0
		store.set(nil, func(ctx context.Context, data []byte) error {
			if failures++; failures < 100 {
				return diskFullFor(`"key-1"`)(ctx, data)
			}
			return nil
		})
		if err := source.RenewIfDue(t.Context()); err != nil || stored(t, store).Key != key("key-1") || !source.Status().Saved {
			t.Errorf("a disk that is full for a short time: %v", err)
		}
		time.Sleep(80 * day)
		store.set(nil, diskFullFor(`"key-2"`))
		begun := time.Now()
		if err := source.RenewIfDue(t.Context()); !errors.Is(err, ErrNotSaved) || !errors.Is(err, errDisk) || time.Since(begun) > 3*time.Minute {
			t.Errorf("RenewIfDue: %v after %v", err, time.Since(begun))
		}
		wantKey(t, source, "key-2")
		if status := source.Status(); status.Saved || !errors.Is(status.LastError, errDisk) {
			t.Errorf("Status: %+v", status)
		}
		synctest.Wait()
		last := told[len(told)-1]
		if len(told) != 2 || last.Kind != Renewed || last.Status.Saved || !errors.Is(last.Status.LastError, errDisk) || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "saved=false") {
			t.Errorf("the function of WithOnChange or the log was not told of the failed save: %+v, log %s", told, &log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := source.Run(ctx); !errors.Is(err, ErrNotSaved) {
			t.Errorf("Run: %v", err)
		}
		store.set(nil, nil)
		time.Sleep(time.Minute)
		wantKey(t, source, "key-2")
		synctest.Wait()
		if stored(t, store).Key != key("key-2") || !source.Status().Saved || server.counted("renew") != 2 {
			t.Errorf("after the disk has room: %+v, %d renewals, want 2", source.Status(), server.counted("renew"))
		}

		time.Sleep(80 * day)
		store.set(nil, diskFullFor(`"key-3"`))
		if err := source.RenewIfDue(t.Context()); !errors.Is(err, ErrNotSaved) {
			t.Error(err)
		}
		time.Sleep(time.Until(source.Status().ExpiresAt) - time.Minute)
		if err := source.Close(); !errors.Is(err, ErrNotSaved) || !errors.Is(err, errDisk) || server.counted("renew") != 3 {
			t.Errorf("Close: %v, %d renewals, want 3", err, server.counted("renew"))
		}
	})
}

// While a store cannot be read, the key is renewed only in its last minutes, the store is not overwritten, and
// the key is not given up.
func TestStoreUnreadable(t *testing.T) {
	for name, spoil := range map[string]func(*faulty){
		"error":   func(s *faulty) { s.set(unreadable, nil) },
		"garbage": func(s *faulty) { overwrite(s, "{") },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			spoil(store)
			if n := renewFor(t, server, source, day, time.Minute); n != 0 || source.Status().LastError == nil {
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
			if data, _, _ := store.Store.Load(t.Context()); name == "garbage" && string(data) != "{" {
				t.Errorf("the document was replaced by %s", data)
			}
			server.revoke() // no process can know whether the store has another key
			if n := renewFor(t, server, source, time.Hour, time.Minute); n != 0 || source.Status().Lost || errors.Is(source.Status().LastError, ErrKeyLost) {
				t.Errorf("%s: the key was renewed or given up while the store could not be read: %+v", name, source.Status())
			}
		})
	}
}

// An old document comes back, from a backup or from a delayed write. The source goes on using the new key, and stores it
// again.
func TestOldDocumentComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t)
		server.keepOld = true
		old, _, _ := store.Load(t.Context())
		if err := source.Renew(t.Context()); err != nil {
			t.Error(err)
		}
		overwrite(store, string(old))
		for range 3 {
			time.Sleep(time.Minute)
			wantKey(t, source, "key-1")
			synctest.Wait()
		}
		if d := stored(t, store); d.Key != key("key-1") || server.counted("renew") > 1 {
			t.Errorf("%s is stored, want key-1; %d renewals", d.Key.Reveal(), server.counted("renew"))
		}
	})
}

func overwrite(s Store, text string) {
	_, version, _ := s.Load(context.Background())
	_, _ = s.Save(context.Background(), []byte(text), version)
}
