package renew

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// hopeless is a permanent error of a store.
type hopeless struct{ error }

func (hopeless) Permanent() bool { return true }

// Open saves the stored document once more, to find out early whether the store could save a new key.
func TestOpenProvesTheStore(t *testing.T) {
	for _, test := range []struct {
		name    string
		save    error
		age     time.Duration // how old the key is
		refused bool
	}{
		{"a store that works", nil, 0, false},
		{"a conflict, which is proof enough", ErrConflict, 0, false},
		{"a full disk", fmt.Errorf("write: %w", syscall.ENOSPC), 0, false},
		{"a full disk, and the key is due", fmt.Errorf("write: %w", syscall.ENOSPC), 80 * day, true},
		{"forbidden", fmt.Errorf("write: %w", fs.ErrPermission), 0, true},
		{"what cannot pass", fmt.Errorf("write: %w", hopeless{errors.New("read-only file system")}), 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			server, store := newStub(90*day), &faulty{Store: Memory()}
			put(t, store, living(stubFirst, 90*day))
			time.Sleep(8*day + test.age) // more than a week, since a save by this host within a week would be proof enough
			saves := 0
			store.set(nil, func([]byte) error { saves++; return test.save })
			source, err := Open(t.Context(), "foo", store, instead(t, server), logTo(&log))
			if (err != nil) != test.refused || test.refused && (source != nil || !errors.Is(err, test.save)) {
				t.Fatalf("%s: Open: %v", test.name, err)
			}
			if saves != 1 || server.counted("info")+server.counted("renew") != 0 {
				t.Errorf("%s: %d saves, and %d requests to Esper, want 1 and none", test.name, saves, server.counted("info"))
			}
			if test.refused {
				return
			}
			defer func() { _ = source.Close() }()
			source.tell.wait()
			wrong := test.save != nil && !errors.Is(test.save, ErrConflict)
			if status := source.Status(); (status.LastError != nil) != wrong || wrong != strings.Contains(log.String(), "level=WARN") {
				t.Errorf("%s: the error of the store is not in Status and the log as it should be: %+v, log %s", test.name, status, &log)
			}
			wantKey(t, source, stubFirst)
		})
	}
}

// inspected is a store that Open inspects.
type inspected struct {
	Store
	inspect func() error
}

func (i inspected) Inspect(context.Context, bool) error { return i.inspect() }

// A store that cannot be inspected in time, such as a mount that hangs, ends Open like any other call of it that hangs.
func TestInspectHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, hang := time.Now(), make(chan struct{})
		store := inspected{Memory(), func() error { <-hang; return nil }}
		_, err := Open(t.Context(), "foo", store, instead(t, newStub(90*day)))
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the store") || took > storeTime+time.Second {
			t.Errorf("%v after %v", err, took)
		}
		close(hang)
	})
}

// When Open does not test the store with a save: it is known to work, or the source is read-only.
func TestOpenNeedsNoProof(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, store Store) []Option{
		"saved by this host within a week": func(*testing.T, Store) []Option { time.Sleep(6 * day); return nil },
		"an attempt is recorded": func(t *testing.T, store Store) []Option {
			d := living(stubFirst, 90*day)
			d.Attempt = inDoubt().Attempt
			put(t, store, d)
			time.Sleep(8 * day)
			return nil
		},
		"read-only": func(*testing.T, Store) []Option { time.Sleep(8 * day); return []Option{ReadOnly()} },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store := newStub(90*day), &faulty{Store: Memory()}
			put(t, store, living(stubFirst, 90*day))
			opts := prepare(t, store)
			store.set(nil, func([]byte) error { t.Errorf("%s: Open writes to the store", name); return nil })
			source, err := Open(context.Background(), "foo", store, append(opts, instead(t, server))...)
			if err != nil {
				t.Fatal(err)
			}
			store.set(nil, nil)
			_ = source.Close()
		})
	}
}

// Check says what is wrong with the key or with the store.
func TestCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), &faulty{Store: Memory()}
		source := opened(t, server, store)
		before := server.counted("info")
		if err := source.Check(t.Context()); err != nil || server.counted("info") != before+1 {
			t.Errorf("Check of a good key: %v, %d requests, want 1", err, server.counted("info")-before)
		}
		store.set(func() error { return errDisk }, nil)
		if err := source.Check(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("Check while the store cannot be read: %v, want the error of the store", err)
		}
		store.set(nil, nil)
		if err := source.Check(t.Context()); err != nil {
			t.Errorf("Check when the store can be read again: %v", err)
		}
	})
}
