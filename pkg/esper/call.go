package esper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper/internal/later"
	"github.com/esper-go/esper-go/pkg/esper/internal/redact"
)

// operation describes one operation of the API: how to build its request, and when to send the request again.
type operation struct {
	name         string
	method       string
	relativePath string // relative to the base URL and without ids, for the log
	request      func(server string, key Secret) (*http.Request, error)
	retryable    func(r result) bool
	repeatable   bool // may be sent again with another key, after a 401
}

// result is how an attempt ended.
type result struct {
	status     int    // 0 without an answer
	body       []byte // what was read of the answer, also if err is set
	err        error  // nil if the answer is 2xx and was read to its end
	maybeSent  bool   // a server may have got the request
	permanent  bool   // trying again cannot help
	attempts   int    // that the call has made so far
	credential *credential
	token      *oauth2.Token // the source's token, from which credential was made
	key        Secret        // the new key, in an answer to a renewal
	secrets    *redact.Matcher
}

func (r result) success() bool { return r.status/100 == 2 }

var errNilContext = invalid("the context is nil")

// call makes attempts until one succeeds, another one is not allowed, or ctx ends.
func (c *Client) call(ctx context.Context, op operation) result {
	if ctx == nil {
		return result{err: errNilContext, permanent: true}
	}
	var (
		waits  *backoff.ExponentialBackOff
		next   *oauth2.Token // for the next attempt; nil to ask the source
		asked  bool          // whether Reject has been called
		alone  bool          // the next attempt uses a new connection, because the last one brought no whole answer
		result result
	)
	for n := 1; ; n++ {
		result = c.attempt(ctx, op, next, alone, n)
		alone = !alone && (result.status == 0 || result.success())
		if result.status == http.StatusUnauthorized && c.source.reject != nil && !asked {
			asked = true
			if next = c.reject(ctx, op, &result); next != nil {
				continue
			}
		}
		if result.err == nil || result.permanent || n >= c.retry.MaxAttempts || ctx.Err() != nil || !op.retryable(result) {
			return result
		}
		if waits == nil {
			waits = c.retry.waits()
		}
		wait := waits.NextBackOff()
		if api := (*APIError)(nil); errors.As(result.err, &api) && api.RetryAfter > 0 {
			wait = api.RetryAfter
		}
		if wait > c.retry.MaxWait {
			return result
		}
		if err := sleep(ctx, wait); err != nil {
			result.err = &callError{operation: op.name, err: &stoppedError{err, result.err}}
			return result
		}
	}
}

// reject tells the source that the server refused its token. It returns another token to try, if there is one and
// op may be repeated.
func (c *Client) reject(ctx context.Context, op operation, r *result) *oauth2.Token {
	token, err := c.source.reject(ctx, r.token)
	if err != nil {
		r.err = &callError{operation: op.name, err: &stoppedError{err, r.err}}
		r.permanent = true
		return nil
	}
	if !op.repeatable || token == nil || token.AccessToken == "" || token.AccessToken == r.token.AccessToken {
		return nil
	}
	return token
}

// stoppedError holds the error that stopped a call, and the error of its last attempt.
type stoppedError struct{ stop, last error }

func (e *stoppedError) Error() string   { return reasonOf(e.stop) + ", after: " + reasonOf(e.last) }
func (e *stoppedError) Unwrap() []error { return []error{e.stop, e.last} }

// waits returns a backoff with full jitter. Its intervals are half the bound, and vary by 100 %: a wait is then between 0
// and the bound.
func (r Retry) waits() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: r.MinWait / 2, RandomizationFactor: 1, Multiplier: 2, MaxInterval: r.MaxWait / 2}
}

// sleep waits for d. It returns an error when ctx ends, and at once if the deadline of ctx comes before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return fmt.Errorf("%w: the wait of %v for another attempt would outlast the call's deadline", context.DeadlineExceeded, d.Round(time.Millisecond))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w while waiting to try again", ctx.Err())
	}
}

// attempt sends op's request once, with the token next, or with a token of the source if next is nil.
func (c *Client) attempt(ctx context.Context, op operation, next *oauth2.Token, alone bool, n int) result {
	r := result{permanent: true, attempts: n}
	if err := ctx.Err(); err != nil {
		r.err = &callError{op.name, n - 1, err}
		return r
	}
	if r.credential, r.token, r.err = c.source.get(ctx, next); r.err != nil {
		return r
	}
	req, err := op.request(c.generated.Server, r.credential.key)
	if err == nil {
		err = c.describe(ctx, req)
	}
	if err != nil {
		r.err = &callError{op.name, n, err}
		return r
	}
	start := time.Now()
	a := c.newAttempt(ctx, r.credential, req)
	defer a.end()
	a.alone = alone
	answer, err := a.send(c.chain)
	r.maybeSent, r.permanent = a.maybeSent.Load(), false
	if err != nil {
		transport := (*transportError)(nil)
		r.permanent = errors.As(err, &transport) && transport.permanent
		r.err = &callError{op.name, n, err}
	}
	if answer != nil {
		r.status, r.body, r.key, r.secrets = answer.status, answer.body, answer.key, answer.secrets
		r.err = answer.asError(op.name, n, err)
	}
	c.log(ctx, op, r.status, n, start)
	return r
}

func (c *Client) log(ctx context.Context, op operation, status, attempt int, start time.Time) {
	if !c.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	took := time.Since(start)
	later.Do(ctx, func() {
		_ = guarded(func() { // a handler that panics must not cost the answer
			c.logger.LogAttrs(ctx, slog.LevelDebug, "esper call",
				slog.String("operation", op.name),
				slog.String("method", op.method),
				slog.String("path", op.relativePath),
				slog.Int("status", status),
				slog.Duration("duration", took),
				slog.Int("attempt", attempt))
		})
	})
}
