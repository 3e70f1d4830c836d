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

// Open saves the stored document once more, to find out early whether the store could save a new key, unless the store is
// known to work or the source is read-only.
func TestOpenProvesTheStore(t *testing.T) {
	for _, test := range []struct {
		name    string
		save    error
		age     time.Duration // of the document; a save by this host within a week is proof enough
		saves   int
		refused bool
	}{
		{"a store that works", nil, 8 * day, 1, false},
		{"a conflict, which is proof enough", ErrConflict, 8 * day, 1, false},
		{"a full disk", fmt.Errorf("write: %w", syscall.ENOSPC), 8 * day, 1, false},
		{"a full disk, and the key is due", fmt.Errorf("write: %w", syscall.ENOSPC), 88 * day, 1, true},
		{"forbidden", fmt.Errorf("write: %w", fs.ErrPermission), 8 * day, 1, true},
		{"what cannot pass", fmt.Errorf("write: %w", hopeless{errors.New("read-only file system")}), 8 * day, 1, true},
		{"saved by this host within a week", nil, 6 * day, 0, false},
		{"an attempt is recorded", nil, 8 * day, 0, false},
		{"read-only", nil, 8 * day, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log records
			server, store := newStub(90*day), newFaulty()
			d, opts := living(stubFirst, 90*day), []Option{instead(t, server), log.option()}
			switch test.name {
			case "an attempt is recorded":
				d.Attempt = begunAttempt(time.Hour)
			case "read-only":
				opts = append(opts, ReadOnly())
			}
			put(t, store, d)
			time.Sleep(test.age)
			saves := 0
			store.set(nil, func(context.Context, []byte) error { saves++; return test.save })
			source, err := Open(t.Context(), "foo", store, opts...)
			if (err != nil) != test.refused || test.refused && (source != nil || !errors.Is(err, test.save)) {
				t.Fatalf("%s: Open: %v", test.name, err)
			}
			if saves != test.saves || server.counted("info")+server.counted("renew") != 0 {
				t.Errorf("%s: %d saves, and %d requests to Esper, want %d and none", test.name, saves, server.counted("info"), test.saves)
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
			if test.save != nil {
				wantKey(t, source, stubFirst)
			}
		})
	}
}
