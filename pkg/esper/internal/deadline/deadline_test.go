package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if at, ok := ctx.Deadline(); !ok || !at.Equal(begun.Add(time.Minute)) || ctx.Err() != nil {
			t.Errorf("deadline %v, %v", at, ctx.Err())
		}
		child, stop := context.WithCancel(ctx)
		defer stop()
		<-child.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) || time.Since(begun) != time.Minute {
			t.Errorf("%v, %v after %v", ctx.Err(), child.Err(), time.Since(begun))
		}

		ctx, cancel = WithTimeout(t.Context(), time.Minute)
		cancel()
		if <-ctx.Done(); !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("cancelled: %v", ctx.Err())
		}
		parent, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		ctx, cancel = WithTimeout(parent, time.Minute)
		defer cancel()
		if at, _ := ctx.Deadline(); !at.Equal(time.Now().Add(time.Second)) {
			t.Errorf("the parent's deadline is the earlier one: %v", at)
		}
		if <-ctx.Done(); !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("with its parent: %v", ctx.Err())
		}
		ctx, cancel = WithTimeout(parent, time.Minute)
		defer cancel()
		if <-ctx.Done(); !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("with an ended parent: %v", ctx.Err())
		}
	})
}

// In a process that was stopped, a look comes late, however short the rest of the limit is. It gets the grace once.
func TestStopped(t *testing.T) {
	for stop, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond: time.Minute, // no stop, but a busy machine
		59 * time.Second:      59*time.Second + grace,
		time.Minute + late:    time.Minute + late + grace,
		10 * time.Minute:      10*time.Minute + grace,
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			ctx, cancel := WithTimeout(t.Context(), time.Minute)
			defer cancel()
			limit := ctx.(*limited)
			limit.timer.Stop() // as if the process were stopped
			time.Sleep(stop)
			limit.look()
			if ctx.Err() != nil {
				t.Fatalf("at once after %v: %v", stop, ctx.Err())
			}
			if <-ctx.Done(); !errors.Is(ctx.Err(), context.DeadlineExceeded) || time.Since(begun) != want {
				t.Errorf("stopped for %v: %v after %v, want %v", stop, ctx.Err(), time.Since(begun), want)
			}
		})
	}
}
