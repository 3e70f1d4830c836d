// Package later delays calls of the caller's functions until a renewal is over. A log handler that asks for the
// key would otherwise wait for the very renewal whose record it is handling, a deadlock.
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

// With returns a context with which Do puts its functions into q.
func With(ctx context.Context, q *Queue) context.Context { return context.WithValue(ctx, key{}, q) }

// Do puts f into the queue of ctx, or calls f at once if ctx has no queue.
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

// Run calls the functions in the queue, in order, and empties it.
func (q *Queue) Run() {
	q.mu.Lock()
	funcs := q.funcs
	q.funcs = nil
	q.mu.Unlock()
	for _, f := range funcs {
		f()
	}
}
