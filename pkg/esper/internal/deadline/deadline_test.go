package deadline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

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
