package esper_test

import (
	"context"
	"errors"
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
	answer  string // what the server sends before it waits
	outcome esper.Outcome
	body    string
	sent    int32 // requests of one attempt
}

// Wherever a call is when its time is over or its context ends, it ends at once. The error tells how: errors.Is finds
// the context's error, and the cause that the caller gave to it. The outcome of a renewal is known as far as it can be,
// and a key that has arrived is returned. A middleware that removes the end of the context changes nothing.
func TestEndOfACall(t *testing.T) {
	const notRenewed = esper.OutcomeNotRenewed
	begin := strings.TrimSuffix(raw(200, strings.Repeat(" ", 300)), strings.Repeat(" ", 300))
	cause := errors.New("the caller's own reason")
	for name, at := range map[string]stage{
		"before":    {outcome: notRenewed},
		"dial":      {outcome: notRenewed},
		"no answer": {outcome: esper.OutcomeUnknown, sent: 1},
		"one byte":  {begin + "{", esper.OutcomeUnreadable, "{", 1},
		"the key":   {begin + `{"token": "` + newKey + `"`, renewedKey, "", 1},
		"wait":      {raw(429, "", "Retry-After: 20"), notRenewed, "", 1},
	} {
		for end, want := range map[string]error{
			"WithTimeout": context.DeadlineExceeded, "deadline": context.DeadlineExceeded, "cancel": context.Canceled,
		} {
			if end == "WithTimeout" && (name == "before" || name == "wait") {
				continue // it limits an attempt only
			}
			for _, lasting := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) { endOfACall(t, name, end, at, want, cause, lasting) })
			}
		}
	}
}

func endOfACall(t *testing.T, name, end string, at stage, want, cause error, lasting bool) {
	var sent, dials atomic.Int32
	server := piped(func(conn net.Conn) { sent.Add(1); hanging(at.answer)(conn) })
	if name == "dial" { // net/http goes on with it for a later request; not if it was for a renewal
		server = esper.WithTransport(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			dials.Add(-1)
			return nil, ctx.Err()
		}})
	}
	limit, after := time.Hour, time.Second
	if end == "WithTimeout" {
		limit = time.Second
	}
	if name == "before" {
		after = 0
	}
	withoutEnd := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if at, ok := req.Context().Deadline(); !ok || end != "cancel" && time.Until(at) > time.Second {
			t.Errorf("%s, %s: a middleware sees the deadline %v", name, end, at)
		}
		if lasting {
			req = req.WithContext(context.WithoutCancel(req.Context()))
		}
		return next.RoundTrip(req)
	})
	c := clientFor(t, memory, oldKey, server, withoutEnd, esper.WithTimeout(limit),
		esper.WithRetry(esper.Retry{MaxAttempts: 3, MinWait: 2, MaxWait: time.Minute}))
	each(t, c, oldKey, func(t *testing.T, do func(context.Context) error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		switch end {
		case "deadline":
			var stop context.CancelFunc
			ctx, stop = context.WithTimeoutCause(ctx, after, cause)
			defer stop()
		case "cancel":
			if time.AfterFunc(after, func() { cancel(cause) }); after == 0 {
				cancel(cause)
			}
		}
		want := want
		sent.Store(0)
		before, begun := dials.Load(), time.Now()
		err := do(ctx)
		took, attempts := time.Since(begun), int32(1)
		failed, isRenewal := errors.AsType[*esper.RenewalError](err)
		switch {
		case err == nil && at.outcome == renewedKey:
			want = nil
		case isRenewal && (failed.Outcome != at.outcome || string(failed.Body) != at.body):
			t.Errorf("%s, %s: %v with %q, want %v with %q", name, end, failed.Outcome, failed.Body, at.outcome, at.body)
		}
		if end == "WithTimeout" && (name == "dial" || err != nil && !isRenewal) {
			attempts = 3 // each of them has its own limit
		}
		timeout, caused := want != nil && errors.Is(want, context.DeadlineExceeded), want != nil && limit == time.Hour
		if name == "wait" && end == "deadline" {
			caused = false // the deadline has not come yet
		}
		if !errors.Is(err, want) || os.IsTimeout(err) != timeout || errors.Is(err, cause) != caused {
			t.Errorf("%s, %s: %v; a timeout %t", name, end, err, os.IsTimeout(err))
		}
		synctest.Wait()
		wantCount(t, name+", "+end+": requests", sent.Load(), at.sent*attempts)
		if isRenewal && dials.Load() > before {
			t.Errorf("%s, %s: the dial goes on", name, end)
		}
		least := after * time.Duration(attempts)
		if name == "wait" {
			says := "while waiting to try again"
			if end == "deadline" {
				least, says = 0, "the wait of 20s for another attempt would outlast the call's deadline"
			}
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", end, err, says)
			}
		}
		if took < least || took > least+time.Microsecond {
			t.Errorf("%s, %s: it took %v", name, end, took)
		}
	})
}
