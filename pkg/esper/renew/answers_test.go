package renew

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
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
	body := renewalBody("key-1", time.Now(), time.Now().Add(90*day))
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

// With keys of 15 minutes and a quarter of all renewals failing, there is always a valid key.
func TestShortLivedKeys(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			random, failures := rand.New(rand.NewPCG(seed, 15)), 0
			server := newStub(15 * time.Minute)
			source := opened(t, server, Memory())
			server.fault = only("renew", func(act func() *http.Response) (*http.Response, error) {
				if random.IntN(4) == 0 {
					failures++
					return reply(502, "<html>"), nil
				}
				return act(), nil
			})
			for range 6 * 60 {
				if !works(server, source) {
					t.Fatalf("seed %d: no valid key at %v: %+v", seed, time.Now(), source.Status())
				}
				time.Sleep(time.Minute)
			}
			if n := server.counted("renewed"); failures < 2 || n < 20 {
				t.Errorf("seed %d: %d renewals and %d failures are too few for this test", seed, n, failures)
			}
		})
	}
}

// After 403, which does not pass by itself, a renewal is tried seldom. After the key's end, 403 means the same as 401.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, fails(403)) // ten days before the end of the key
		if n := renewFor(t, server, source, 9*day, time.Hour); n < 5 || n > 25 {
			t.Errorf("%d renewals in the 9 days before the end of the key, want 5 to 25", n)
		}
		server.fault = all(fails(403))
		if n := renewFor(t, server, source, 91*day, time.Hour); n > 10 {
			t.Errorf("%d renewals in the 90 days after the end of the key, want at most 10", n)
		}
		if _, err := source.Token(); !errors.Is(err, ErrKeyLost) {
			t.Errorf("Token after the end of the key: %v, want ErrKeyLost", err)
		}
	})
}
