// Package later puts off what a caller's function may do until it can do no harm: a log handler that itself
// asks for the key would otherwise wait for the renewal that it is told about.
package later

import (
	"context"
	"sync"
)

// Queue holds functions until Run. The zero value is ready for use.
type Queue struct {
	mu    sync.Mutex
	funcs []func()
}

type key struct{}

// With returns a context whose Do puts off.
func With(ctx context.Context, q *Queue) context.Context { return context.WithValue(ctx, key{}, q) }

// Do calls f at once, or with the queue of ctx.
func Do(ctx context.Context, f func()) {
	q, ok := ctx.Value(key{}).(*Queue)
	if !ok {
		f()
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.funcs = append(q.funcs, f)
}

// Run calls what was put off, in order.
func (q *Queue) Run() {
	q.mu.Lock()
	funcs := q.funcs
	q.funcs = nil
	q.mu.Unlock()
	for _, f := range funcs {
		f()
	}
}
