package esper

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errCause = errors.New("the caller's reason")

type ctxKey struct{}

// family is a context and what can be derived from it.
type family map[string]context.Context

func newFamily(c context.Context) (family, func()) {
	child, cancel := context.WithCancel(c)
	valued := context.WithValue(c, ctxKey{}, "of the child")
	grandchild, cancel2 := context.WithCancelCause(valued)
	later, cancel3 := context.WithTimeout(c, time.Hour)
	sooner, cancel4 := context.WithTimeout(c, time.Millisecond)
	return family{"itself": c, "child": child, "valued": valued, "grandchild": grandchild, "later": later, "sooner": sooner},
		func() { cancel(); cancel2(nil); cancel3(); cancel4() }
}

func (f family) String() string {
	var b strings.Builder
	for _, name := range []string{"itself", "child", "valued", "grandchild", "later", "sooner"} {
		c, done := f[name], false
		select {
		case <-c.Done():
			done = true
		default:
		}
		deadline, ok := c.Deadline()
		fmt.Fprintln(&b, name, done, c.Err(), context.Cause(c), deadline.UnixNano(), ok, c.Value(ctxKey{}))
	}
	return b.String()
}

// A context of limits is told from one of context.WithTimeout by nothing that a caller can see.
func TestLimitedIsWithTimeout(t *testing.T) {
	const limit = time.Second
	type start func(parent context.Context) (context.Context, context.CancelFunc)
	type scenario func(start start, log func(any))
	value := context.WithValue(context.Background(), ctxKey{}, "of the caller")
	watch := func(start start, log func(any), parent context.Context) (end func()) {
		c, cancel := start(parent)
		f, release := newFamily(c)
		var told [3]atomic.Int32
		stop := context.AfterFunc(c, func() { told[0].Add(1) })
		log(stop())
		context.AfterFunc(c, func() { told[1].Add(1) })
		log(f)
		return func() {
			synctest.Wait()
			log(f)
			cancel()
			context.AfterFunc(c, func() { told[2].Add(1) })
			synctest.Wait()
			log(f)
			log(fmt.Sprint(told[0].Load(), told[1].Load(), told[2].Load()))
			late, releaseLate := newFamily(c)
			log(late)
			releaseLate()
			release()
		}
	}
	for name, run := range map[string]scenario{
		"just before it is due": func(start start, log func(any)) {
			defer watch(start, log, value)()
			time.Sleep(limit - 1)
		},
		"due": func(start start, log func(any)) {
			defer watch(start, log, value)()
			time.Sleep(limit)
		},
		"canceled by the parent": func(start start, log func(any)) {
			parent, cancel := context.WithCancelCause(value)
			defer watch(start, log, parent)()
			time.Sleep(limit / 2)
			cancel(errCause)
			synctest.Wait()
			time.Sleep(limit)
		},
		"canceled by the parent before it began": func(start start, log func(any)) {
			parent, cancel := context.WithCancelCause(value)
			cancel(errCause)
			watch(start, log, parent)()
		},
		"canceled by the parent after it was due": func(start start, log func(any)) {
			parent, cancel := context.WithCancelCause(value)
			c, end := start(parent)
			time.Sleep(limit)
			synctest.Wait()
			cancel(errCause)
			synctest.Wait()
			log(c.Err())
			end()
		},
		"the parent is due sooner": func(start start, log func(any)) {
			parent, cancel := context.WithTimeout(value, limit/2)
			defer cancel()
			defer watch(start, log, parent)()
			time.Sleep(limit / 2)
		},
		"the parent is due later": func(start start, log func(any)) {
			parent, cancel := context.WithTimeout(value, 2*limit)
			defer cancel()
			defer watch(start, log, parent)()
			time.Sleep(limit)
		},
		"its parent is of its kind": func(start start, log func(any)) {
			parent, cancel := start(value)
			defer cancel()
			time.Sleep(limit / 2)
			defer watch(start, log, parent)()
			time.Sleep(limit / 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			observe := func(makeStart func() start) (seen string) {
				synctest.Test(t, func(*testing.T) {
					var b strings.Builder
					run(makeStart(), func(v any) { fmt.Fprintln(&b, v) })
					seen = b.String()
				})
				return seen
			}
			want := observe(func() start {
				return func(parent context.Context) (context.Context, context.CancelFunc) {
					return context.WithTimeout(parent, limit)
				}
			})
			got := observe(func() start {
				l := newLimits(limit)
				return func(parent context.Context) (context.Context, context.CancelFunc) {
					c := new(limited)
					l.start(parent, c)
					return c, c.cancel
				}
			})
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Each of many attempts has the whole of its time, whatever became of those before it.
func TestLimitsOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Second
		l := newLimits(limit)
		var attempts sync.WaitGroup
		for i := range 200 {
			attempts.Go(func() {
				time.Sleep(rand.N(5 * limit))
				parent, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				c, begun := new(limited), time.Now()
				l.start(parent, c)
				defer c.cancel()
				child, release := context.WithCancel(c)
				defer release()
				switch early := rand.N(limit); i % 4 {
				case 0: // waits until it is due
					<-child.Done()
					if took := time.Since(begun); took != limit || !errors.Is(child.Err(), context.DeadlineExceeded) {
						t.Errorf("ended after %v with %v", took, child.Err())
					}
				case 1: // is given up
					time.AfterFunc(early, func() { cancel(errCause) })
					<-child.Done()
					if took := time.Since(begun); took != early || !errors.Is(context.Cause(child), errCause) {
						t.Errorf("ended after %v, not %v, with %v", took, early, context.Cause(child))
					}
				default: // succeeds
					time.Sleep(early)
					if err := child.Err(); err != nil {
						t.Errorf("ended after %v: %v", early, err)
					}
				}
			})
		}
		attempts.Wait()
		time.Sleep(2 * limit)
		synctest.Wait()
		if l.queue.next != &l.queue || l.queue.prev != &l.queue || l.armed {
			t.Error("attempts or a timer are left over")
		}
	})
}

// counter is a caller's context that counts who waits for its end.
type counter struct {
	context.Context
	done    chan struct{}
	waiting atomic.Int32
}

func (c *counter) Done() <-chan struct{} { return c.done }

func (c *counter) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	return func() bool { c.waiting.Add(-1); return true }
}

// A caller's context may live as long as the program.
func TestLimitedLeavesItsParent(t *testing.T) {
	parent := &counter{Context: t.Context(), done: make(chan struct{})}
	c := new(limited)
	newLimits(time.Hour).start(parent, c)
	if n := parent.waiting.Load(); n != 1 {
		t.Errorf("%d wait for the parent", n)
	}
	if c.cancel(); parent.waiting.Load() != 0 {
		t.Error("the parent still knows of it")
	}
}

func TestLimitedAfterFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(limited)
		newLimits(time.Second).start(context.Background(), c)
		var calls [3]int
		stop := c.AfterFunc(func() { calls[0]++ })
		if first, second := stop(), stop(); !first || second {
			t.Errorf("stop gives %v, then %v", first, second)
		}
		stop = c.AfterFunc(func() { calls[1]++ })
		c.cancel()
		late := c.AfterFunc(func() { calls[2]++ })
		if synctest.Wait(); calls != [3]int{0, 1, 1} || stop() || late() {
			t.Errorf("calls %v; stop after the call: %v, %v", calls, stop(), late())
		}
	})
}
