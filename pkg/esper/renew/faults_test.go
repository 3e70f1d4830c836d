package renew

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// recorder keeps each Event that the function of WithOnChange gets.
type recorder []Event

func (r *recorder) option() Option { return WithOnChange(func(e Event) { *r = append(*r, e) }) }

// advisory opens a source whose key is in the advisory window, ten days before its end. If renewal is set, it
// answers the renewals in place of the server.
func advisory(t *testing.T, renewal func(act func() *http.Response) (*http.Response, error), opts ...Option) (*stub, *faulty, *Source) {
	server, store := newStub(90*day), &faulty{Store: Memory()}
	source := opened(t, server, store, opts...)
	time.Sleep(80 * day)
	if renewal != nil {
		server.fault = only("renew", renewal)
	}
	return server, store, source
}

// fails answers with a status and a header, and does not let the server act.
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
			middle := min(30*time.Second<<i, day)
			if gap < middle/2-time.Second || gap > middle*3/2 {
				t.Errorf("wait %d is %v, want %v ± 50 %%", i+1, gap, middle)
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
			t.Errorf("the next attempt is in %v, want an hour and a half at most", d)
		}
	})
}

// After a renewal of unknown outcome, the old key goes on working. It is checked, and renewed after the pause.
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
			if d.Attempt.ID == "" || d.Attempt.PID == 0 || d.Attempt.Until.Sub(d.Attempt.Begun) != 90*time.Second || server.checks() != 2 {
				t.Fatalf("%s: attempt %v, %d checks", name, d.Attempt, server.checks()-1)
			}
			if name == "unread text" && d.Answer != key(`{"token: "`) || name == "unread binary" && d.Answer != key("\xff\x00\xfe") {
				t.Errorf("%s: the answer is not in the store: %+v", name, d)
			}
			// Another process starts with that document.
			again := opened(t, server, store)
			for _, s := range []*Source{source, again} {
				if n := renewFor(t, server, s, 40*time.Second, time.Second); n != 0 {
					t.Errorf("%s: %d renewals within the pause", name, n)
				}
			}
			server.fault = nil
			checks := server.checks()
			time.Sleep(2 * time.Minute)
			wantKey(t, again, "key-1")
			if n := server.checks() - checks; n != 1 {
				t.Errorf("%s: %d checks before the second renewal, want 1", name, n)
			}
			if stored(t, store).Attempt.ID != "" {
				t.Errorf("%s: the note of the attempt is still in the store", name)
			}
			time.Sleep(2 * time.Minute)
			wantKey(t, source, "key-1") // taken over from the store
		})
	}
}

// The server replaces the key, and its answer is lost. Callers get the old key until the server has refused it for
// the second time, a minute after the first.
func TestLost(t *testing.T) {
	t.Parallel()
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
			time.Sleep(30 * time.Second)
			wantKey(t, source, stubFirst)
			if source.Status().Lost || source.Status().LastError == nil {
				t.Errorf("%s: after one refusal: %+v", name, source.Status())
			}
			err := error(nil)
			for range 5 {
				time.Sleep(time.Minute)
				_, err = source.Token()
			}
			if !errors.Is(err, ErrKeyLost) || !errors.Is(err, esper.ErrUnauthorized) || !source.Status().Lost {
				t.Fatalf("%s: %v", name, err)
			}
			for _, part := range []string{"make a new key in the Esper Console", "refused"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: no %q in %q", name, part, err)
				}
			}
			d := stored(t, store)
			if name == "unread" && (!strings.Contains(err.Error(), "is kept there") || d.Answer != key("no JSON")) {
				t.Errorf("%s: %v", name, err)
			}
			if name != "unread" && !strings.Contains(err.Error(), "begun at "+begun) {
				t.Errorf("%s: %v", name, err)
			}
			if d.RefusedAt.IsZero() {
				t.Errorf("%s: the refusal is not noted", name)
			}
			if again, err := opened(t, server, store).Token(); err == nil { // a job that starts now
				t.Logf("%s: the first call of another process got %v", name, again.AccessToken)
			}
			posts := server.counted("renew")
			infos := server.counted("info")
			_ = renewFor(t, server, source, 10*day, 20*time.Minute)
			if n := server.counted("info") - infos; server.counted("renew") != posts || n > 10*24*12 {
				t.Errorf("%s: in the ten days after the loss, %d renewals, want none, and %d checks, want one every five minutes at most", name, server.counted("renew")-posts, n)
			}
			server.fault = nil
			server.revoke("operator")
			if err := opened(t, server, store).Adopt(t.Context(), key("operator")); err != nil {
				t.Errorf("%s: Adopt: %v", name, err)
			}
			time.Sleep(time.Minute)
			wantKey(t, source, "operator")
			if err := source.Status().LastError; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
