package renew

import (
	"context"
	"errors"
	"net/http"
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

// While the store holds what cannot be read, that is not overwritten, and the key is renewed only in its last minutes.
func TestStoreUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := advisory(t, nil)
		overwrite(store, "{")
		if n := renewFor(t, server, source, day, time.Minute); n != 0 || source.Status().LastError == nil {
			t.Errorf("%d renewals while the key is valid, %v", n, source.Status().LastError)
		}
		wantKey(t, source, stubFirst)
		time.Sleep(time.Until(source.Status().ExpiresAt) - 4*time.Minute)
		_, _ = source.Token()
		time.Sleep(2 * time.Minute)
		wantKey(t, source, "key-1")
		if data, _, _ := store.Load(t.Context()); string(data) != "{" || source.Status().Saved {
			t.Errorf("the document was replaced by %s: %+v", data, source.Status())
		}
	})
}

// Another document is written over the one of a renewal: an old copy, or one with a dead key of another history. The
// new key stays in use and is stored again. If the server refuses all keys meanwhile, that is so five minutes after it
// accepts them again.
func TestAnotherDocumentComes(t *testing.T) {
	const old, outage, during = "the key of before, which works", "a dead key, in an outage", "a dead key, during renewal"
	for _, name := range []string{old, outage, during, "a dead key"} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := fresh(t)
			server.keepOld = name == old
			other := stored(t, store)
			if name != old {
				other = living("dead", 90*day)
			}
			if name == during { // and for a moment the server cannot say which of the two works
				server.fault = func(_ *http.Request, op string, act func() *http.Response) (*http.Response, error) {
					if op == "info" {
						return reply(500, ""), nil
					}
					put(t, store, other)
					return act(), nil
				}
			}
			go func() { _ = source.Run(t.Context()) }()
			if err := source.Renew(t.Context()); err != nil {
				t.Error(name, err)
			}
			if d := stored(t, store); d.Key != key("key-1") || name == during && d.SetAside != key("dead") {
				t.Errorf("%s: stored %s, set aside %v", name, d.Key.Reveal(), d.Aside())
			}
			server.set(nil)
			if name != during {
				put(t, store, other)
			}
			if name == outage {
				server.set(all(fails(401)))
				time.Sleep(30 * time.Minute)
				server.set(nil)
				time.Sleep(5*time.Minute + time.Second)
			}
			for range 5 {
				wantKey(t, source, "key-1")
				time.Sleep(time.Minute)
			}
			if d := stored(t, store); d.Key != key("key-1") || !d.SetAside.IsZero() || server.counted("renew") != 1 {
				t.Errorf("%s: stored %s, set aside %v, %d renewals", name, d.Key.Reveal(), d.Aside(), server.counted("renew"))
			}
			_ = source.Close()
		})
	}
}

func overwrite(s Store, text string) {
	_, version, _ := s.Load(context.Background())
	_, _ = s.Save(context.Background(), []byte(text), version)
}
