package measure

import (
	"math"
	"runtime"
	"runtime/debug"
)

// Cost is what one call allocates.
type Cost struct {
	Allocations float64 `json:"allocations"`
	Bytes       float64 `json:"bytes"`
}

// Costs counts what a call allocates, as testing.AllocsPerRun does: on one processor, in all
// goroutines of the process, rounded down. It turns the garbage collector off, which would empty
// pools. It takes the smallest of three rounds, to leave out what the runtime allocates at times.
func Costs(call func() error) (Cost, error) {
	const rounds, calls = 3, 500
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	least := Cost{math.Inf(1), math.Inf(1)}
	for range rounds {
		runtime.GC()
		for range 10 { // fill pools, open connections, and build what is built once
			if err := call(); err != nil {
				return Cost{}, err
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			if err := call(); err != nil {
				return Cost{}, err
			}
		}
		runtime.ReadMemStats(&after)
		least.Allocations = min(least.Allocations, float64((after.Mallocs-before.Mallocs)/calls))
		least.Bytes = min(least.Bytes, float64((after.TotalAlloc-before.TotalAlloc)/calls))
	}
	return least, nil
}
