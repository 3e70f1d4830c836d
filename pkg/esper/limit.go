package esper

import (
	"context"
	"sync"
	"time"
)

// limits gives the attempts of a client their time limit. It is the same for all, so that they are
// due in the order in which they began and one timer does. With one each, as context.WithTimeout
// has, every call would set the timer that is next, for which the runtime wakes a thread.
type limits struct {
	timeout time.Duration

	mu    sync.Mutex
	queue limited // the root of a ring
	armed bool    // a timer is set
}

// limited is a context as of context.WithTimeout.
type limited struct {
	context.Context // the parent
	limits          *limits
	due             time.Time
	done            chan struct{}
	forget          func() bool // the parent

	// Under limits.mu.
	next, prev *limited
	err        error
	waiters    *waiter // a list
	first      waiter  // of the list, and mostly the only one
}

// waiter is to be told of a context's end.
type waiter struct {
	f    func() // nil once it was told, or does not want to be any more
	next *waiter
}

func newLimits(timeout time.Duration) *limits {
	l := &limits{timeout: timeout}
	l.queue.next, l.queue.prev = &l.queue, &l.queue
	return l
}

// start begins c, which has to be canceled.
func (l *limits) start(parent context.Context, c *limited) {
	c.Context, c.limits, c.due, c.done = parent, l, time.Now().Add(l.timeout), make(chan struct{})
	l.mu.Lock()
	c.next, c.prev = &l.queue, l.queue.prev
	c.next.prev, c.prev.next = c, c
	if !l.armed {
		l.arm(l.timeout)
	}
	l.mu.Unlock()
	if err := parent.Err(); err != nil {
		c.end(err)
	} else if parent.Done() != nil {
		c.forget = context.AfterFunc(parent, func() { c.end(parent.Err()) })
	}
}

func (l *limits) arm(d time.Duration) {
	l.armed = true
	time.AfterFunc(d, l.expire)
}

// expire ends what is due, once a timeout or, while calls follow each other, a little more often.
func (l *limits) expire() {
	for c := l.expired(time.Now()); c != nil; c = l.expired(time.Now()) {
		c.end(context.DeadlineExceeded)
	}
}

// expired returns what is due; if nothing is, it sets the timer for what will be next.
func (l *limits) expired(now time.Time) *limited {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.queue.next
	if first == &l.queue {
		l.armed = false
		return nil
	}
	if wait := first.due.Sub(now); wait > 0 {
		l.arm(wait)
		return nil
	}
	return first
}

func (c *limited) cancel() {
	if c.forget != nil {
		c.forget()
	}
	c.end(context.Canceled)
}

func (c *limited) end(err error) {
	c.limits.mu.Lock()
	if c.err != nil {
		c.limits.mu.Unlock()
		return
	}
	c.err = err
	c.next.prev, c.prev.next = c.prev, c.next
	w := c.waiters
	close(c.done)
	c.limits.mu.Unlock()
	for ; w != nil; w = w.next {
		if f := c.limits.take(w); f != nil {
			f()
		}
	}
}

func (c *limited) Deadline() (time.Time, bool) {
	if earlier, ok := c.Context.Deadline(); ok && earlier.Before(c.due) {
		return earlier, true
	}
	return c.due, true
}

func (c *limited) Done() <-chan struct{} { return c.done }

func (c *limited) Err() error {
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	return c.err
}

// AfterFunc is what package context looks for in a parent, to save a goroutine for each child.
func (c *limited) AfterFunc(f func()) (stop func() bool) {
	c.limits.mu.Lock()
	defer c.limits.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	w := &c.first
	if c.waiters != nil {
		w = new(waiter)
	}
	w.f, w.next = f, c.waiters
	c.waiters = w
	return func() bool { return c.limits.take(w) != nil }
}

func (l *limits) take(w *waiter) (f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, w.f = w.f, nil
	return f
}
