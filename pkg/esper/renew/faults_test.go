package renew

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder keeps what WithOnRenew is told.
type recorder []Status

func (r *recorder) option() Option { return WithOnRenew(func(s Status) { *r = append(*r, s) }) }

// advisory begins with a key that is due, and not more, at a server whose renewals fail so.
func advisory(t *testing.T, renewal func(act func() *http.Response) (*http.Response, error), opts ...Option) (*stub, *faulty, *Source) {
	server, store := newStub(90*day), &faulty{Store: Memory()}
	source := opened(t, server, store, opts...)
	time.Sleep(80 * day)
	if renewal != nil {
		server.fault = only("renew", renewal)
	}
	return server, store, source
}

func fails(status int, header ...string) func(func() *http.Response) (*http.Response, error) {
	return func(func() *http.Response) (*http.Response, error) {
		resp := reply(status, "")
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return resp, nil
	}
}

func TestAdvisoryFailureKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told recorder
		server, store, source := advisory(t, fails(403), told.option())
		var gaps []time.Duration
		for n := 0; n < 10; {
			wantKey(t, source, stubFirst)
			synctest.Wait()
			if len(server.posted()) > n {
				n = len(server.posted())
				status := source.Status()
				if status.LastError == nil || !strings.Contains(status.LastError.Error(), "nothing was renewed") || !status.Saved {
					t.Fatalf("Status: %+v", status)
				}
				gaps = append(gaps, time.Until(status.NextAttempt))
			}
			time.Sleep(5 * time.Second)
		}
		for i, gap := range gaps {
			middle := min(failMin<<i, failMax)
			if gap < middle/2-time.Second || gap > middle*3/2 {
				t.Errorf("wait %d is %v, want %v ± 50 %%", i+1, gap, middle)
			}
		}
		if len(told) != 10 || told[0].LastError == nil || told[0].NextAttempt.IsZero() {
			t.Errorf("OnRenew was told %d times: %+v", len(told), told)
		}
		if d := stored(t, store); d.Attempt != nil {
			t.Error("the journal is left behind")
		}
		server.fault = nil
		time.Sleep(2 * time.Hour)
		wantKey(t, source, stubFirst)
		synctest.Wait()
		wantKey(t, source, "key-1")
		if status := told[len(told)-1]; status.LastError != nil || source.Status().LastError != nil || len(told) != 11 {
			t.Errorf("after the renewal: %v", status.LastError)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, fails(429, "Retry-After", "900"))
		wantKey(t, source, stubFirst)
		synctest.Wait()
		if d := time.Until(source.Status().NextAttempt); d != 15*time.Minute {
			t.Errorf("the next attempt is in %v, want 15 minutes", d)
		}
		if n := renewFor(t, server, source, 14*time.Minute, time.Second); n != 0 {
			t.Errorf("%d renewals before Retry-After", n)
		}
		server.fault = only("renew", fails(429, "Retry-After", "9000000"))
		time.Sleep(time.Minute + time.Second)
		wantKey(t, source, stubFirst)
		synctest.Wait()
		if d := time.Until(source.Status().NextAttempt); d > 90*time.Minute {
			t.Errorf("the next attempt is in %v", d)
		}
	})
}

// TestUnknownOutcome has the old key go on working: it is checked, and renewed after the pause.
func TestUnknownOutcome(t *testing.T) {
	for name, renewal := range map[string]func(func() *http.Response) (*http.Response, error){
		"500": fails(500), "reset": func(func() *http.Response) (*http.Response, error) { return nil, errStub },
		"unread text":   func(func() *http.Response) (*http.Response, error) { return reply(201, `{"token: "`), nil },
		"unread binary": func(func() *http.Response) (*http.Response, error) { return reply(201, "\xff\x00\xfe"), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, renewal)
			server.keepOld = true
			wantKey(t, source, stubFirst)
			synctest.Wait()
			d := stored(t, store)
			if d.Attempt == nil || d.Attempt.PID == 0 || server.counted("info") != 2 {
				t.Fatalf("%s: attempt %v, %d checks", name, d.Attempt, server.counted("info")-1)
			}
			if name == "unread text" && d.Attempt.Answer != `{"token: "` || name == "unread binary" && !bytes.Equal(d.Attempt.AnswerBase64, []byte("\xff\x00\xfe")) {
				t.Errorf("%s: the answer is not in the journal: %+v", name, d.Attempt)
			}
			// Another process begins with that.
			again := opened(t, server, store)
			for _, s := range []*Source{source, again} {
				if n := renewFor(t, server, s, 4*time.Minute, time.Second); n != 0 {
					t.Errorf("%s: %d renewals within the pause", name, n)
				}
			}
			server.fault = nil
			checks := server.counted("info")
			time.Sleep(3 * time.Minute)
			wantKey(t, again, stubFirst)
			synctest.Wait()
			wantKey(t, again, "key-1")
			if n := server.counted("info") - checks; n != 1 {
				t.Errorf("%s: %d checks before the second renewal, want 1", name, n)
			}
			if stored(t, store).Attempt != nil {
				t.Errorf("%s: the journal is left behind", name)
			}
			time.Sleep(2 * time.Minute)
			wantKey(t, source, stubFirst)
			synctest.Wait()
			wantKey(t, source, "key-1") // adopted
		})
	}
}

// TestAnswerOutlivesFailures: a later attempt that is refused leaves the answer in the journal.
func TestAnswerOutlivesFailures(t *testing.T) {
	for _, answer := range []string{"half a key", "half a key\xff"} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, func(func() *http.Response) (*http.Response, error) { return reply(201, answer), nil })
			wantKey(t, source, stubFirst)
			synctest.Wait()
			for _, f := range []func(func() *http.Response) (*http.Response, error){fails(403), fails(500)} {
				server.fault = only("renew", f)
				if n := renewFor(t, server, source, 20*time.Minute, time.Minute); n < 1 {
					t.Fatal("no second renewal")
				}
				if a := stored(t, store).Attempt; a == nil || a.Answer+string(a.AnswerBase64) != answer {
					t.Errorf("the journal is %+v", a)
				}
			}
		})
	}
}

// TestLost has the server replace the key and the answer lost.
func TestLost(t *testing.T) {
	for name, lose := range map[string]func(resp *http.Response) (*http.Response, error){
		"reset":  func(*http.Response) (*http.Response, error) { return nil, errStub },
		"500":    func(*http.Response) (*http.Response, error) { return reply(500, ""), nil },
		"unread": func(*http.Response) (*http.Response, error) { return reply(201, "no JSON"), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			var told recorder
			server, store, source := advisory(t, func(act func() *http.Response) (*http.Response, error) { return lose(act()) }, told.option())
			begun := wallClock().Format(time.RFC3339)
			wantKey(t, source, stubFirst)
			synctest.Wait()
			_, err := source.Token()
			if !errors.Is(err, ErrKeyLost) || !errors.Is(source.Status().LastError, ErrKeyLost) || len(told) != 1 || !errors.Is(told[0].LastError, ErrKeyLost) {
				t.Fatalf("%s: %v, told %v", name, err, told)
			}
			for _, part := range []string{"begun at " + begun, "make a new key in the Esper Console", "refused"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: no %q in %q", name, part, err)
				}
			}
			if name == "unread" && (!strings.Contains(err.Error(), "in the journal") || stored(t, store).Attempt.Answer != "no JSON") {
				t.Errorf("%s: %v", name, err)
			}
			requests := fmt.Sprint(server.count)
			_ = renewFor(t, server, source, 30*day, 10*time.Minute)
			if now := fmt.Sprint(server.count); now != requests {
				t.Errorf("%s: requests after the loss: %s, before %s", name, now, requests)
			}
			// The operator makes a new key, in the Console, and puts it into the store.
			server.fault = nil
			server.revoke("operator")
			put(t, store, document{Key: "operator", IssuedAt: wallClock(), ExpiresAt: wallClock().Add(90 * day)})
			time.Sleep(time.Minute)
			wantKey(t, source, "operator")
			if err := source.Status().LastError; err != nil || !server.valid("operator") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestCheckIsNotPossible: no renewal without a check, however long the server cannot be asked.
func TestCheckIsNotPossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, _, source := advisory(t, nil)
		server.fault = only("renew", func(func() *http.Response) (*http.Response, error) { return nil, errStub })
		server.refuse = func(op string) error {
			if op == "renew" {
				return nil
			}
			return errRefused
		}
		if n := renewFor(t, server, source, day, time.Minute); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		if err := source.Status().LastError; err == nil || !strings.Contains(err.Error(), "cannot tell") {
			t.Error(err)
		}
		server.fault, server.refuse = nil, nil
		if renewFor(t, server, source, 2*time.Hour, time.Minute); server.counted("renewed") != 1 {
			t.Error("not renewed afterwards")
		}
	})
}
