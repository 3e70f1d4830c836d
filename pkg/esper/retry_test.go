package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestTokenInfo_WaitsHaveFullJitter(t *testing.T) {
	for name, tt := range map[string]struct {
		retry        esper.Retry
		attempts     int
		first, limit time.Duration
	}{
		"defaults":     {esper.Retry{}, 4, 250 * time.Millisecond, 30 * time.Second},
		"own":          {esper.Retry{MaxAttempts: 6, MinWait: 1000, MaxWait: 4000}, 6, 1000, 4000},
		"many":         {esper.Retry{MaxAttempts: 11}, 11, 250 * time.Millisecond, 30 * time.Second},
		"long MinWait": {esper.Retry{MinWait: time.Minute}, 4, time.Minute, time.Minute},
		"low MaxWait":  {esper.Retry{MaxWait: 10 * time.Millisecond}, 4, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			shares := make([][]float64, tt.attempts-1) // of the bound, for each wait
			for range 200 {
				server, asked := scripted(raw(503, ""))
				_, err := clientFor(t, memory, oldKey, server, esper.WithRetry(tt.retry)).TokenInfo(t.Context())
				if !errors.Is(err, esper.ErrServer) || len(*asked) != tt.attempts {
					t.Fatalf("%s: %d attempts, %v", name, len(*asked), err)
				}
				for n := range shares {
					wait, bound := (*asked)[n+1].Sub((*asked)[n]), min(tt.first<<n, tt.limit)
					if shares[n] = append(shares[n], float64(wait)/float64(bound)); wait < 0 || wait > bound {
						t.Errorf("%s: wait %d is %v, its bound %v", name, n, wait, bound)
					}
				}
			}
			for n, s := range shares {
				if slices.Min(s) > 0.2 || slices.Max(s) < 0.8 {
					t.Errorf("%s: wait %d is %.2f to %.2f of its bound", name, n, slices.Min(s), slices.Max(s))
				}
			}
		})
	}
}

func TestTokenInfo_RetryAfter(t *testing.T) {
	const jitter, atOnce, date = -1, -2, http.TimeFormat
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a synctest bubble begins
	for value, wait := range map[string]time.Duration{
		"1": time.Second, "007": 7 * time.Second, "30": 30 * time.Second, "31": atOnce, "315360000": atOnce, "0": jitter,
		epoch.Add(5 * time.Second).Format(date): 5 * time.Second, "Saturday, 01-Jan-00 00:00:09 GMT": 9 * time.Second,
		epoch.Add(-time.Hour).Format(date): jitter, epoch.Format(date): jitter, epoch.Add(time.Hour).Format(date): atOnce,
		"Fri, 31 Dec 9999 23:59:59 GMT": atOnce, "Mon, 01 Jan 0001 00:00:00 GMT": jitter, "-1": jitter, "NaN": jitter,
		"1.5": jitter, "+1": jitter, "1e308": jitter, "18446744073709551616": jitter, "9223372037": jitter, "soon": jitter,
		"1, 2": jitter,
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				server, asked := scripted(raw(status, "", "Retry-After: "+value), raw(200, goodAnswer))
				_, err := clientFor(t, memory, oldKey, server).TokenInfo(t.Context())
				took, least, most := time.Since(epoch), max(0, wait), max(0, wait)
				if wait == jitter {
					most = 250 * time.Millisecond
				}
				api, refused := errors.AsType[*esper.APIError](err)
				if took < least || took > most || (err == nil) == (wait == atOnce) ||
					refused && (len(*asked) != 1 || api.RetryAfter <= 30*time.Second) {
					t.Errorf("%s: took %v, %d attempts, %v; want %v", value, took, len(*asked), err, wait)
				}
			})
		}
	}
}

// Wherever a call is when its context ends, it ends at once; before a wait that would outlast the deadline, even sooner.
// The error tells how: errors.Is finds the context's error, and the cause that the caller gave to it. The outcome of a
// renewal is known as far as it can be, and a key that has arrived is returned. A middleware that removes the end of the
// context changes nothing. Package faults shows the same of WithTimeout.
func TestEndOfACall(t *testing.T) {
	const notRenewed = esper.OutcomeNotRenewed
	begin := strings.TrimSpace(raw(200, strings.Repeat(" ", 300))) + "\r\n\r\n{"
	for name, at := range map[string]struct {
		answer  string // what the server sends before it waits
		outcome esper.Outcome
		sent    int32 // requests
		after   time.Duration
	}{
		"before":    {"", notRenewed, 0, 0},
		"source":    {"", notRenewed, 0, time.Second},
		"dial":      {"", notRenewed, 0, time.Second},
		"no answer": {"", esper.OutcomeUnknown, 1, time.Second},
		"one byte":  {begin, esper.OutcomeUnreadable, 1, time.Second},
		"the key":   {begin + `"token": "` + newKey + `"`, renewedKey, 1, time.Second},
		"a wait":    {raw(429, "", "Retry-After: 20"), notRenewed, 1, time.Second},
		"no wait":   {raw(429, "", "Retry-After: 20"), notRenewed, 1, 0},
	} {
		for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
			for _, lasting := range []bool{false, true} {
				timeout := errors.Is(want, context.DeadlineExceeded)
				if strings.HasSuffix(name, "wait") && timeout != (name == "no wait") {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					what := fmt.Sprintf("%s, %v, lasting %t", name, want, lasting)
					var sent, dials atomic.Int32
					server := piped(func(conn net.Conn) { sent.Add(1); hanging(at.answer)(conn) })
					if name == "dial" {
						dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
							dials.Add(1)
							<-ctx.Done()
							dials.Add(-1)
							return nil, ctx.Err()
						}
						server = esper.WithTransport(&http.Transport{DialContext: dial})
					}
					source := contextSource(func(ctx context.Context) (*oauth2.Token, error) {
						if name == "source" {
							<-ctx.Done()
							return nil, fmt.Errorf("%w: %w", ctx.Err(), context.Cause(ctx))
						}
						return &oauth2.Token{AccessToken: oldKey}, nil
					})
					withoutEnd := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
						if _, ok := req.Context().Deadline(); !ok {
							t.Errorf("%s: a middleware sees no deadline", what)
						}
						if lasting {
							req = req.WithContext(context.WithoutCancel(req.Context()))
						}
						return next.RoundTrip(req)
					})
					retry := esper.WithRetry(esper.Retry{MaxAttempts: 3, MinWait: time.Millisecond, MaxWait: time.Minute})
					c := clientOf(t, memory, source, server, withoutEnd, esper.WithTimeout(time.Hour), retry)
					for _, op := range operations(c, oldKey)[:3] {
						cause, limit := errors.New("the caller's own reason"), at.after
						ctx, cancel := context.WithCancelCause(t.Context())
						defer time.AfterFunc(at.after, func() { cancel(cause) }).Stop()
						if name == "no wait" {
							limit = time.Second
						}
						if timeout {
							var stop context.CancelFunc
							ctx, stop = context.WithTimeoutCause(t.Context(), limit, cause)
							defer stop()
						}
						synctest.Wait()
						sent.Store(0)
						before, begun := dials.Load(), time.Now()
						_, _, err := op.do(ctx)
						equal(t, what+": it took", time.Since(begun), at.after)
						equal(t, what+": requests", sent.Load(), at.sent)
						if synctest.Wait(); op.renews() && dials.Load() > before { // a pooled dial may serve another call
							t.Errorf("%s: the dial goes on", what)
						}
						says := map[string]string{
							"a wait":  "while waiting to try again, after: ",
							"no wait": "the wait of 20s for another attempt would outlast the call's deadline, after: ",
						}[name]
						if outcome := outcomeOf(err); op.renews() && outcome != at.outcome || outcome != renewedKey &&
							(!errors.Is(err, want) || !errors.Is(err, cause) && name != "no wait" ||
								os.IsTimeout(err) != timeout && name != "source" || !strings.Contains(err.Error(), says)) {
							t.Errorf("%s: %v; a timeout %t", what, err, os.IsTimeout(err))
						}
					}
				})
			}
		}
	}
}
