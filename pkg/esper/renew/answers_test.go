package renew

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An answer to a renewal that may hold the new key is kept like a key, whatever its status and its text, up to 64 KiB: it
// can be read again, takes about as much room in the store, and is saved although a save fails. A store that refuses it
// blocks nothing: an hour later the key is renewed.
func TestAnswerIsKept(t *testing.T) {
	const anyKey = "any renewal's key"
	body := normalBody("key-1", time.Now(), time.Now().Add(90*day))
	once := func(n, _ int) bool { return n == 1 }
	large := func(text string) string { return strings.Repeat(text, 1<<20-100) }
	for name, test := range map[string]struct {
		status  int
		body    string
		refuses func(n, size int) bool // whether the n-th save of the answer fails, in a document of this size
		want    string                 // the answer that is stored; anyKey: or its key
	}{
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
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, acts(test.status, test.body))
			server.keepOld = true
			saves := 0
			store.set(nil, func(_ context.Context, data []byte) error {
				if d, err := decode(data, stubBase); test.refuses != nil && (err != nil || !d.Answer.IsZero()) {
					if saves++; test.refuses(saves, len(data)) {
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
			case test.want == anyKey && d.Key == key("key-1"):
			case test.want == anyKey && kept != "" && err != nil:
			case kept != test.want || err == nil || len(data) > 2000+3*len(kept)/2:
				t.Errorf("%s: RenewIfDue: %v; %d bytes of the answer are stored, in a document of %d", name, err, len(kept), len(data))
			}
			if err != nil && strings.Contains(err.Error(), "key-1") {
				t.Errorf("%s: the error shows the key: %v", name, err)
			}
		})
	}
}

// After a failure, callers get the key that they had, and the renewal is tried again after pauses that grow, or after the
// server's Retry-After. Status and the function of WithOnChange say why.
func TestAdvisoryFailureKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		server, store, source := advisory(t, fails(429, "Retry-After", "900"), told.option())
		var gaps []time.Duration
		for n := 0; n < 10; {
			wantKey(t, source, stubFirst)
			synctest.Wait()
			if server.counted("renew") > n {
				n = server.counted("renew")
				status := source.Status()
				if status.LastError == nil || !strings.Contains(status.LastError.Error(), "nothing was renewed") || !status.Saved {
					t.Fatalf("Status: %+v", status)
				}
				gaps = append(gaps, time.Until(status.NextAttempt))
			}
			if n == 1 {
				server.fault = only("renew", fails(403))
			}
			time.Sleep(5 * time.Second)
		}
		for i, gap := range gaps {
			middle := min(30*time.Second<<i, day)
			off := middle/2 + time.Second
			if i == 0 {
				middle, off = 15*time.Minute, 0 // as Retry-After says
			}
			if (gap - middle).Abs() > off {
				t.Errorf("wait %d is %v, want %v", i+1, gap, middle)
			}
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
