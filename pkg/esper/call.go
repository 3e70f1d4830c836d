package esper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// operation is one call of the API: what to send, and after what to send it again.
type operation struct {
	name    string
	request *http.Request
	path    string // below the base URL and without ids, for the log
	token   Secret // what a renewal exchanges
	again   func(r result) bool
}

// result is how an attempt ended.
type result struct {
	status  int    // 0 without an answer
	body    []byte // what was read of the answer, also if err is set
	err     error  // nil if the answer is 2xx and was read to its end
	known   secrets
	maySent bool // a server may have got the request
	final   bool // nothing was sent, nor will be if it is tried again
}

func (r result) success() bool { return r.status/100 == 2 }

// call makes attempts until one succeeds, or another would not be right, or ctx ends.
func (c *Client) call(ctx context.Context, op operation) result {
	if ctx == nil {
		return result{err: invalid("the context is nil"), final: true}
	}
	var waits *backoff.ExponentialBackOff
	for n := 1; ; n++ {
		r := c.attempt(ctx, op, n)
		if r.err == nil || r.final || n == c.retry.MaxAttempts || ctx.Err() != nil || !op.again(r) {
			return r
		}
		if waits == nil {
			waits = c.retry.waits()
		}
		wait := waits.NextBackOff()
		if api := (*APIError)(nil); errors.As(r.err, &api) && api.RetryAfter > 0 {
			wait = api.RetryAfter
		}
		if wait > c.retry.MaxWait {
			return r
		}
		if err := sleep(ctx, wait); err != nil {
			r.err = &callError{op.name, fmt.Errorf("%w while waiting to try again, after: %w", err, r.err)}
			return r
		}
	}
}

// waits is full jitter: its interval of ±100 % around half the bound begins at nothing.
func (r Retry) waits() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: r.MinWait / 2, RandomizationFactor: 1, Multiplier: 2, MaxInterval: r.MaxWait / 2}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) attempt(ctx context.Context, op operation, n int) result {
	if err := ctx.Err(); err != nil {
		return result{err: &callError{op.name, err}, final: true}
	}
	key, err := c.doer.key(ctx)
	if err != nil {
		return result{err: err, final: true}
	}
	start := time.Now()
	s := c.doer.newSeal(ctx, key, op.token)
	resp, err := c.doer.send(s, op.request) //nolint:bodyclose // read closes it
	r := result{maySent: s.maySent.Load(), known: s.secrets}
	if err != nil {
		r.err = &callError{op.name, err}
		r.final = !r.maySent && (errors.Is(err, errOtherHost) || errors.Is(err, errNoSeal))
	} else {
		r.read(resp, op.name, s.secrets)
	}
	c.log(ctx, op, r.status, n, start)
	return r
}

func (r *result) read(resp *http.Response, operation string, known secrets) {
	r.status = resp.StatusCode
	var err error
	r.body, err = readBody(resp)
	switch {
	case !r.success():
		r.err = newAPIError(operation, resp, r.body, known)
	case err != nil:
		r.err = &callError{operation, err}
	}
}

func (c *Client) log(ctx context.Context, op operation, status, attempt int, start time.Time) {
	if !c.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	c.logger.LogAttrs(ctx, slog.LevelDebug, "esper call",
		slog.String("operation", op.name),
		slog.String("method", op.request.Method),
		slog.String("path", op.path),
		slog.Int("status", status),
		slog.Duration("duration", time.Since(start)),
		slog.Int("attempt", attempt))
}
