package esper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/later"
)

// operation describes one operation of the API.
type operation struct {
	name    string
	path    string // relative to the base URL and without ids, for the log
	renewal bool   // the answer holds a new key
	// request builds the request with the generated code. Key is that of the attempt.
	request func(server string, key Secret) (*http.Request, error)
}

// result is how a call, or one attempt of it, ended.
type result struct {
	answer
	err       error // nil if the answer is 2xx and was read to its end
	maybeSent bool  // a server may have got the request
	operation string
	attempts  int      // that the call has made so far
	last      *attempt // nil if there was none
}

func (r result) success() bool { return r.status/100 == 2 }

// call makes attempts until one succeeds, another one would not help or might do harm, or ctx ends.
func (c *Client) call(ctx context.Context, op operation) (r result) {
	if ctx == nil {
		return result{err: errNilContext}
	}
	var (
		waits = backoff.ExponentialBackOff{ // full jitter: half the bound, varied by 100 %, is between 0 and the bound
			InitialInterval: c.retry.MinWait / 2, RandomizationFactor: 1, Multiplier: 2, MaxInterval: c.retry.MaxWait / 2,
		}
		next  *oauth2.Token // for the next attempt; nil to ask the source
		asked bool          // whether Reject has been called
		alone bool          // the next attempt uses a new connection, because over the pool no whole answer came
	)
	for n := 1; ; n++ {
		token, err := next, error(nil)
		if token == nil {
			if token, err = c.source.get(ctx); err != nil {
				return result{err: err}
			}
		}
		r = c.try(ctx, op, token, alone, n)
		alone = !alone && (r.status == 0 || r.success())
		if r.status == http.StatusUnauthorized && c.source.reject != nil && !asked {
			asked = true
			if next, err = c.source.reject(ctx, token); err != nil {
				return r.stopped(err)
			}
			if !op.renewal && next != nil && next.AccessToken != token.AccessToken {
				continue
			}
		}
		if next = nil; r.err == nil || n >= c.retry.MaxAttempts || ctx.Err() != nil || !op.retryable(r) {
			return r
		}
		wait := waits.NextBackOff()
		if api := (*APIError)(nil); errors.As(r.err, &api) && api.RetryAfter > 0 {
			wait = api.RetryAfter
		}
		if wait > c.retry.MaxWait {
			return r
		}
		if err := sleep(ctx, wait); err != nil {
			return r.stopped(err)
		}
	}
}

// stopped is r of a call that an error stopped after an attempt.
func (r result) stopped(err error) result {
	r.err = &callError{operation: r.operation, err: fmt.Errorf("%w, after: %w", err, r.err)}
	return r
}

// retryable reports whether another attempt may help, and can do no harm.
func (op operation) retryable(r result) bool {
	transport := (*transportError)(nil)
	switch {
	case errors.As(r.err, &transport) && transport.permanent:
		return false
	case op.renewal:
		return r.status == 0 && !r.maybeSent || r.status == http.StatusTooManyRequests
	case r.success():
		return !errors.Is(r.err, ErrResponseTooLarge)
	}
	return slices.Contains([]int{0, 429, 500, 502, 503, 504}, r.status) || errors.Is(r.err, ErrGateway)
}

// sleep waits for d. It returns an error when ctx ends, and at once if the deadline of ctx comes before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return fmt.Errorf("%w: the wait of %v for another attempt would outlast the call's deadline",
			context.DeadlineExceeded, d.Round(time.Millisecond))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w while waiting to try again", join(ctx.Err(), context.Cause(ctx)))
	}
}

// try makes the nth attempt of a call, with token.
func (c *Client) try(ctx context.Context, op operation, token *oauth2.Token, alone bool, n int) result {
	if err := ctx.Err(); err != nil {
		return result{err: &callError{op.name, n - 1, join(err, context.Cause(ctx))}}
	}
	start, key := time.Now(), NewSecret(token.AccessToken)
	req, err := op.request(c.generated.Server, key)
	if err != nil {
		return result{err: &callError{op.name, n, err}}
	}
	c.describe(req)
	a := newAttempt(ctx, c.timeout, key, req, op.renewal)
	defer a.cancel()
	a.alone = alone
	got := a.send(c.chain)
	r := result{answer: *got, maybeSent: a.maybeSent.Load(), operation: op.name, attempts: n, last: a}
	switch {
	case r.status != 0 && !r.success():
		api := newAPIError(op.name, n, got, a.secrets())
		api.sought = c.source.reject != nil
		r.err = api
	case r.fault != nil:
		r.err = &callError{op.name, n, r.fault}
	}
	if c.logger.Enabled(ctx, slog.LevelDebug) {
		status, took := r.status, time.Since(start)
		later.Do(ctx, func() {
			c.logger.LogAttrs(ctx, slog.LevelDebug, "esper call", slog.String("operation", op.name),
				slog.String("method", a.method), slog.String("path", op.path), slog.Int("status", status),
				slog.Duration("duration", took), slog.Int("attempt", n))
		})
	}
	return r
}
