// Package deadline limits the time of a request whose answer must not be lost. When a stopped process goes on (after
// SIGSTOP, in a debugger, on a suspended machine), the limit may have passed while the whole answer lies in its
// buffers. With context.WithTimeout, the request would then fail.
package deadline

import (
	"context"
	"sync"
	"time"
)

const (
	tick  = 100 * time.Millisecond // how often the process looks whether it was stopped
	late  = 100 * time.Millisecond // a look that comes later than this shows a stop
	grace = 5 * time.Second        // to read, after a stop, an answer that has already arrived
)

// WithTimeout is context.WithTimeout, except that a process that was stopped has at least five more seconds when it
// goes on. It gets them once.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	now := time.Now()
	c := &limited{Context: parent, at: now.Add(d), next: now.Add(min(tick, d)), done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(min(tick, d), c.look)
	stop := context.AfterFunc(parent, func() { c.end(parent.Err()) })
	return c, func() {
		stop()
		c.end(context.Canceled)
	}
}

type limited struct {
	context.Context
	done chan struct{}

	mu       sync.Mutex // guards what follows
	at       time.Time  // when c ends
	next     time.Time  // when look is due
	timer    *time.Timer
	extended bool
	err      error
}

func (c *limited) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.Context.Deadline(); ok && at.Before(c.at) {
		return at, true
	}
	return c.at, true
}

func (c *limited) Done() <-chan struct{} { return c.done }

func (c *limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// look ends c if its time is over, unless the process was stopped since the last look.
func (c *limited) look() {
	c.mu.Lock()
	now := time.Now()
	if now.Sub(c.next) > late && c.at.Sub(now) < grace && !c.extended {
		c.at, c.extended = now.Add(grace), true
	}
	left := c.at.Sub(now)
	if left > 0 && c.err == nil {
		c.next = now.Add(min(tick, left))
		c.timer.Reset(min(tick, left))
	}
	c.mu.Unlock()
	if left <= 0 {
		c.end(context.DeadlineExceeded)
	}
}

func (c *limited) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		c.timer.Stop()
		close(c.done)
	}
}
