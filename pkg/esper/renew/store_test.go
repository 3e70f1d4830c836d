package renew

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
		server.set(nil)
		var log records
		opened(t, newStub(time.Minute), Memory(), log.option()).tell.wait()
		if !strings.Contains(log.String(), "the key lives for so short a time that no renewal may begin") {
			t.Errorf("of a key that lives for a minute, Open logs %q", &log)
		}
		race := newFaulty() // another process saves its key first
		race.set(func(context.Context, string, string) error {
			if race.counted("Save") == 1 {
				put(t, race.Store, living("other", 90*day))
			}
			return nil
		})
		wantKey(t, opened(t, server, race), "other")
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
		{"saved by another host within a week", nil, 6 * day, 1, false},
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
			if strings.Contains(test.name, "another host") {
				data, _, _ := store.Load(t.Context())
				overwrite(t, store, strings.Replace(string(data), `"saved_by": "`, `"saved_by": "not-`, 1))
			}
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
			wantKey(t, source, stubFirst)
		})
	}
}

// If a new key cannot be saved, it is saved again and again before callers get it; if that fails for long, also because a
// dead mount lets no call return and ignores contexts, it is used from memory, and saved as soon as that is possible. What
// knows of it says so. Close begins no renewal, even in the last minutes of a key that is in memory alone.
func TestStoringFailsForLong(t *testing.T) {
	for _, want := range []error{errDisk, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			var told recorder
			var log records
			server, store, source := advisory(t, nil, told.option(), log.option())
			released := make(chan struct{})
			broken := func(text string) storeFault {
				if errors.Is(want, errDisk) {
					return unable("Save", text)
				}
				return func(_ context.Context, _, document string) error {
					if strings.Contains(document, text) {
						<-released
					}
					return nil
				}
			}
			store.set(func(ctx context.Context, method, document string) error {
				if store.counted("Save") < 100 {
					return unable("Save", `"key-1"`)(ctx, method, document)
				}
				return nil
			})
			if err := source.RenewIfDue(t.Context()); err != nil || stored(t, store).Key != key("key-1") || !source.Status().Saved {
				t.Errorf("a disk that is full for a short time: %v", err)
			}
			time.Sleep(80 * day)
			store.set(broken(`"key-2"`))
			begun, saves := time.Now(), store.counted("Save")
			if err := source.RenewIfDue(t.Context()); !errors.Is(err, ErrNotSaved) || !errors.Is(err, want) || time.Since(begun) > 3*time.Minute {
				t.Errorf("RenewIfDue: %v after %v", err, time.Since(begun))
			}
			wantKey(t, source, "key-2")
			if status := source.Status(); status.Saved || !errors.Is(status.LastError, want) {
				t.Errorf("Status: %+v", status)
			}
			synctest.Wait()
			last := told[len(told)-1]
			if len(told) != 2 || last.Kind != Renewed || last.Status.Saved || !errors.Is(last.Status.LastError, want) || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "saved=false") {
				t.Errorf("the function of WithOnChange or the log was not told of the failed save: %+v, log %s", told, &log)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
			defer cancel()
			if err := source.Run(ctx); !errors.Is(err, ErrNotSaved) {
				t.Errorf("Run: %v", err)
			}
			if n := store.counted("Save") - saves; !errors.Is(want, errDisk) && n > 3 { // the first one noted the attempt
				t.Errorf("%d calls of the store hang at once, want 2 at most", n-1)
			}
			store.set(nil)
			close(released)
			time.Sleep(time.Minute)
			wantKey(t, source, "key-2")
			synctest.Wait()
			if stored(t, store).Key != key("key-2") || !source.Status().Saved || server.counted("renew") != 2 {
				t.Errorf("after the disk has room: %+v, %d renewals, want 2", source.Status(), server.counted("renew"))
			}

			time.Sleep(80 * day)
			released = make(chan struct{})
			defer close(released)
			store.set(broken(`"key-3"`))
			if err := source.RenewIfDue(t.Context()); !errors.Is(err, ErrNotSaved) {
				t.Error(err)
			}
			time.Sleep(time.Until(source.Status().ExpiresAt) - time.Minute)
			if err := source.Close(); !errors.Is(err, ErrNotSaved) || !errors.Is(err, want) || server.counted("renew") != 3 {
				t.Errorf("Close: %v, %d renewals, want 3", err, server.counted("renew"))
			}
		})
	}
}

// An answer to a renewal that may hold the new key is kept like a key, whatever its status and its text, up to 64 KiB: it
// can be read again, by the next process too, takes about as much room in the store, and is saved although a save fails. A store that refuses it
// blocks nothing: an hour later the key is renewed.
func TestAnswerIsKept(t *testing.T) {
	const anyKey = "any renewal's key"
	body := normalBody("key-1", time.Now(), time.Now().Add(90*day))
	once := func(n, _ int) bool { return n == 1 }
	large := func(text string) string { return strings.Repeat(text, 1<<20-100) }
	type answer struct {
		status  int
		body    string
		refuses func(n, size int) bool // whether the n-th save of the answer fails, in a document of this size
		want    string                 // the answer that is stored; anyKey: or its key
	}
	answers := map[string]answer{
		"500":                {500, body, nil, anyKey},
		"504":                {504, body, nil, anyKey},
		"408":                {408, body, nil, anyKey},
		"302":                {302, body, nil, anyKey},
		"cut short":          {201, `["` + body, nil, anyKey},
		"text":               {201, `{"token: "`, nil, `{"token: "`},
		"binary":             {201, "\xff\x00\xfe", nil, "\xff\x00\xfe"},
		"much text":          {201, large("x"), nil, large("x")[:mostAnswer]},
		"quotes":             {201, large(`"`), nil, large(`"`)[:mostAnswer]},
		"control characters": {201, large("\x01"), nil, large("\x01")[:mostAnswer]},
		"not UTF-8":          {201, large("\xff"), nil, large("\xff")[:mostAnswer]},
		"one save fails":     {201, "unreadable", once, "unreadable"},
		"too large":          {201, large("x"), func(_, size int) bool { return size > 10_000 }, ""},
	}
	for _, text := range []string{"made-up.key", "token made-up", "/run/made-up", "Bearer made-up", "made\u200bup", stubFirst} {
		answers[text] = answer{201, normalBody(text, time.Now(), time.Now().Add(90*day)), nil, anyKey}
	}
	for name, test := range answers {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, handled(says(test.status, test.body)))
			server.keepOld = true
			saves := 0
			store.set(func(_ context.Context, _, document string) error {
				if test.refuses != nil && strings.Contains(document, `"answer`) {
					if saves++; test.refuses(saves, len(document)) {
						return errDisk
					}
				}
				return nil
			})
			err := source.RenewIfDue(t.Context())
			if test.want == "" {
				server.fault = nil
				time.Sleep(time.Hour)
				if err := source.RenewIfDue(t.Context()); err != nil || stored(t, store).Key != key("key-2") {
					t.Errorf("%s: the next renewal: %v, stored %s", name, err, stored(t, store).Key.Reveal())
				}
				return
			}
			if closeErr := source.Close(); closeErr != nil {
				t.Errorf("%s: Close: %v", name, closeErr)
			}
			d := stored(t, store)
			data, _, _ := store.Load(t.Context())
			kept := d.Answer.Reveal()
			switch {
			case test.want == anyKey && d.Key != key(stubFirst) && err == nil && strings.Contains(test.body, d.Key.Reveal()):
			case test.want == anyKey && kept != "" && err != nil:
			case kept != test.want || err == nil || len(data) > 2000+3*len(kept)/2:
				t.Errorf("%s: RenewIfDue: %v; %d bytes of the answer are stored, in a document of %d", name, err, len(kept), len(data))
			}
			if err != nil && strings.Contains(err.Error(), "key-1") {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
			wantKey(t, opened(t, server, store), d.Key.Reveal()) // the next process can read what is stored
		})
	}
}

// A failed renewal is tried again after pauses that grow, or after the server's Retry-After, and meanwhile callers get the
// key that they had. Status and the function of WithOnChange say why.
func TestAdvisoryFailureKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		server, store, source := advisory(t, fails(429, "Retry-After", "900"), told.option())
		var gaps []time.Duration // the policy's tests show how pauses grow
		for n := range 10 {
			if n > 0 {
				server.fault = only("renew", fails(403))
			}
			for server.counted("renew") == n {
				time.Sleep(5 * time.Second)
				wantKey(t, source, stubFirst)
				synctest.Wait()
			}
			status := source.Status()
			gaps = append(gaps, time.Until(status.NextAttempt))
			if status.LastError == nil || !strings.Contains(status.LastError.Error(), "nothing was renewed") || !status.Saved {
				t.Fatalf("Status: %+v", status)
			}
		}
		if gaps[0] != 15*time.Minute || gaps[1] > 90*time.Second || gaps[9] < 2*time.Hour {
			t.Errorf("the pauses are %v, want what Retry-After says, then a minute or so, and more than an hour in the end", gaps)
		}
		if len(told) != 10 || told[0].Kind != Failed || told[0].Status.LastError == nil || told[0].Status.NextAttempt.IsZero() {
			t.Errorf("the function of WithOnChange was called %d times, want 10: %+v", len(told), told)
		}
		if d := stored(t, store); d.Attempt.ID != "" {
			t.Error("the note of the attempt is still in the store")
		}
		server.fault = nil
		time.Sleep(12 * time.Hour)
		wantKey(t, source, "key-1")
		synctest.Wait() // until the function of WithOnChange was called
		if last := told[len(told)-1]; last.Kind != Renewed || last.Status.LastError != nil || source.Status().LastError != nil || len(told) != 11 {
			t.Errorf("after the renewal: %+v", last)
		}
	})
}
