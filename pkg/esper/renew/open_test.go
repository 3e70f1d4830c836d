package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(90 * day)
		common := []Option{instead(t, server), WithClientOptions(esper.WithRetry(esper.Retry{MaxAttempts: 1})), nil}
		first := []Option{WithInitialToken(key(stubFirst))}
		disk := func(method string) Store {
			store := newFaulty()
			store.set(unable(method, ""))
			return store
		}
		for _, test := range []struct {
			env   string
			store Store
			opts  []Option
			fault fault // of the server
			want  error
			text  string // in the error
		}{
			{"foo", Memory(), nil, nil, ErrNoKey, "is empty; make one in the Esper Console and give it (WithInitialToken"},
			{"foo", Memory(), append(first, ReadOnly()), nil, ErrNoKey, "is empty"},
			{"foo", Memory(), first, fails(401), esper.ErrUnauthorized, "the initial key"},
			{"foo", Memory(), first, resets, io.EOF, ""},
			{"foo", Memory(), first, says(200, `{"id": "570", "developer_app": null, "enterprise": "`+stubEnterprise+`"}`), ErrNotRenewable, "belongs to no developer app"},
			{"foo", nil, nil, nil, esper.ErrInvalidArgument, "the store is nil"},
			{"", Memory(), nil, nil, esper.ErrInvalidArgument, ""},
			{"foo", Memory(), []Option{WithRenewBefore(-1)}, nil, esper.ErrInvalidArgument, "WithRenewBefore"},
			{"foo", Memory(), []Option{WithLifetime(time.Hour)}, nil, esper.ErrInvalidArgument, "WithLifetime"},
			{"foo", Memory(), []Option{WithLifetime(time.Second), WithPersonalAccessTokens()}, nil, esper.ErrInvalidArgument, "WithLifetime"},
			{"foo", Memory(), []Option{WithClientOptions(esper.WithTimeout(-1))}, nil, esper.ErrInvalidArgument, ""},
			{"foo", Memory(), []Option{WithInitialToken(key("Bearer x"))}, nil, esper.ErrInvalidArgument, "the initial key"},
			{"foo", disk("Save"), first, nil, errDisk, ""},
			{"foo", disk("Load"), first, nil, errDisk, ""},
		} {
			server.set(test.fault)
			source, err := Open(t.Context(), test.env, test.store, append(common, test.opts...)...)
			if source != nil || !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), stubFirst) {
				t.Errorf("want %v with %q: %v", test.want, test.text, err)
			}
		}
		if _, err := Open(nil, "foo", Memory()); !errors.Is(err, ErrNoKey) { //nolint:staticcheck // on purpose
			t.Errorf("nil context: %v", err)
		}
		if n := server.counted("renew"); n != 0 {
			t.Errorf("Open made %d renewals, want none", n)
		}
	})
}

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
			saves := store.counted("Save")
			store.set(func(_ context.Context, method, _ string) error {
				if method == "Save" {
					return test.save
				}
				return nil
			})
			source, err := Open(t.Context(), "foo", store, opts...)
			if (err != nil) != test.refused || test.refused && (source != nil || !errors.Is(err, test.save)) {
				t.Fatalf("%s: Open: %v", test.name, err)
			}
			if saves = store.counted("Save") - saves; saves != test.saves || server.counted("info")+server.counted("renew") != 0 {
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

// Open looks at the modes of the file and its folder at once, also when this host has just saved the document, so that
// nothing has to be proven. Package keyfile shows what it finds.
func TestOpenInspectsFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes there")
	}
	var log records
	server, folder := newStub(90*day), filepath.Join(t.TempDir(), "esper")
	path := filepath.Join(folder, "key.json")
	for _, want := range []string{"", "other users can read it"} {
		opened(t, server, File(path), log.option()).tell.wait()
		if text := log.String(); !strings.Contains(text, want) || (text == "") != (want == "") {
			t.Errorf("logged %s, want %q", text, want)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// The folder is narrowed, unless other files lie in it.
	if err := errors.Join(os.Chmod(folder, 0o777), os.WriteFile(filepath.Join(folder, "notes"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "foo", File(path), instead(t, server)); err == nil || !strings.Contains(err.Error(), "others could replace the file") {
		t.Errorf("in a folder that others can write to: %v", err)
	}
}
