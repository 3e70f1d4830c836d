package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// stage is where a call is when it ends.
type stage struct {
	name, answer string // what the server sends before it waits
	outcome      esper.Outcome
	sent         int32         // requests of one attempt
	after        time.Duration // of each attempt
}

// Wherever a call is when its time is over or its context ends, it ends at once. The error tells how: errors.Is finds
// the context's error, and the cause that the caller gave to it. The outcome of a renewal is known as far as it can be,
// and a key that has arrived is returned. A middleware that removes the end of the context changes nothing.
func TestEndOfACall(t *testing.T) {
	begin := strings.TrimSpace(raw(200, strings.Repeat(" ", 300))) + "\r\n\r\n{"
	for _, at := range []stage{
		{"before", "", esper.OutcomeNotRenewed, 0, 0},
		{"dial", "", esper.OutcomeNotRenewed, 0, time.Second},
		{"no answer", "", esper.OutcomeUnknown, 1, time.Second},
		{"one byte", begin, esper.OutcomeUnreadable, 1, time.Second},
		{"the key", begin + `"token": "` + newKey + `"`, renewedKey, 1, time.Second},
	} {
		for _, lasting := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { endOfACall(t, at, "deadline", context.DeadlineExceeded, lasting) })
			synctest.Test(t, func(t *testing.T) { endOfACall(t, at, "cancel", context.Canceled, lasting) })
			if at.after > 0 {
				synctest.Test(t, func(t *testing.T) { endOfACall(t, at, "WithTimeout", context.DeadlineExceeded, lasting) })
			}
		}
	}
}

func endOfACall(t *testing.T, at stage, end string, want error, lasting bool) {
	cause, limit, what := errors.New("the caller's own reason"), time.Hour, at.name+", "+end
	if end == "WithTimeout" {
		limit = at.after
	}
	var sent, dials atomic.Int32
	server := piped(func(conn net.Conn) { sent.Add(1); hanging(at.answer)(conn) })
	if at.name == "dial" {
		server = esper.WithTransport(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			dials.Add(-1)
			return nil, ctx.Err()
		}})
	}
	withoutEnd := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if at, ok := req.Context().Deadline(); !ok || end != "cancel" && time.Until(at) > time.Second {
			t.Errorf("%s: a middleware sees the deadline %v", what, at)
		}
		if lasting {
			req = req.WithContext(context.WithoutCancel(req.Context()))
		}
		return next.RoundTrip(req)
	})
	c := clientFor(t, memory, oldKey, server, withoutEnd, esper.WithTimeout(limit), quickRetry(3))
	each(t, c, oldKey, func(t *testing.T, do func(context.Context) error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		if end == "deadline" {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeoutCause(ctx, at.after, cause)
			defer stop()
		} else if time.AfterFunc(at.after, func() { cancel(cause) }); end == "WithTimeout" {
			ctx = t.Context()
		}
		synctest.Wait()
		sent.Store(0)
		before, begun := dials.Load(), time.Now()
		err := do(ctx)
		took, outcome, attempts := time.Since(begun), outcomeOf(err), int32(1)
		if end == "WithTimeout" && (outcome == noRenewal || outcome == esper.OutcomeNotRenewed) {
			attempts = 3 // each of them has its own limit
		}
		if least := at.after * time.Duration(attempts); took < least || took > least+20*time.Millisecond {
			t.Errorf("%s: it took %v", what, took)
		}
		wantCount(t, what+": requests", sent.Load(), at.sent*attempts)
		if synctest.Wait(); outcome != noRenewal && dials.Load() > before { // net/http goes on only for a later request
			t.Errorf("%s: the dial goes on", what)
		}
		if outcome != noRenewal && outcome != at.outcome {
			t.Errorf("%s: %v, want %v", what, err, at.outcome)
		}
		if outcome != renewedKey && (!errors.Is(err, want) || os.IsTimeout(err) != (end != "cancel") ||
			errors.Is(err, cause) != (end != "WithTimeout")) {
			t.Errorf("%s: %v; a timeout %t", what, err, os.IsTimeout(err))
		}
	})
}

// The end of the context ends a wait. A deadline that comes before the next attempt ends the call at once.
func TestEndOfAWait(t *testing.T) {
	for says, tc := range map[string]struct {
		deadline, took time.Duration
		want           error
	}{
		"while waiting": {time.Hour, time.Second / 2, context.Canceled},
		"the wait of 20s for another attempt would outlast the call's deadline": {time.Second, 0, context.DeadlineExceeded},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := clientFor(t, memory, oldKey, piped(saying(raw(429, "", "Retry-After: 20"))))
			each(t, c, oldKey, func(t *testing.T, do func(context.Context) error) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.deadline)
				defer time.AfterFunc(time.Second/2, cancel).Stop()
				begun := time.Now()
				err := do(ctx)
				took, text := time.Since(begun), fmt.Sprint(err)
				if !errors.Is(err, tc.want) || took != tc.took || !strings.Contains(text, says+", after: ") &&
					!strings.Contains(text, says+" to try again, after: ") {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}
