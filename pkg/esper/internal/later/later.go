// Package later lets a package that calls the client take over the client's log records. Package renew does: a renewal
// must not wait for a log handler, which may even ask for the very key that is being renewed.
package later

import "context"

type key struct{}

// With returns a context whose calls hand their functions to put.
func With(ctx context.Context, put func(f func())) context.Context {
	return context.WithValue(ctx, key{}, put)
}

// Do hands f to the function given to With, or calls f at once if there is none.
func Do(ctx context.Context, f func()) {
	if put, ok := ctx.Value(key{}).(func(func())); ok {
		put(f)
		return
	}
	f()
}
