// Package deadline limits the time of a request whose answer must not be lost. When a stopped process goes on
// (after SIGSTOP, in a debugger, on an overloaded machine), the limit may have passed while the answer is already
// in its buffers. With context.WithTimeout, the request would then fail.
package deadline

import (
	"context"
	"sync"
	"time"
)

const (
	late  = time.Second     // if the timer fires later than this, the process was stopped
	grace = 5 * time.Second // to read an answer that has already arrived
)

// WithTimeout is context.WithTimeout, except that a process that was stopped while the limit passed gets
// five more seconds.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := &limited{Context: parent, at: time.Now().Add(d), done: make(chan struct{})}
	if err := parent.Err(); err != nil {
		c.end(err)
		return c, func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(d, c.passed)
	stop := context.AfterFunc(parent, func() { c.end(parent.Err()) })
	return c, func() {
		stop()
		c.end(context.Canceled)
	}
}

type limited struct {
	context.Context
	at   time.Time
	done chan struct{}

	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	extended bool
	err      error
}

func (c *limited) Deadline() (time.Time, bool) {
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

// passed is called when the limit has passed, and when grace has.
func (c *limited) passed() {
	c.mu.Lock()
	again := time.Since(c.at) > late && !c.extended && c.err == nil
	if again {
		c.extended = true
		c.timer.Reset(grace)
	}
	c.mu.Unlock()
	if !again {
		c.end(context.DeadlineExceeded)
	}
}

func (c *limited) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.timer != nil {
		c.timer.Stop()
	}
	close(c.done)
}
