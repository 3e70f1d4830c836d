package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

// originsCommand makes the program print where the allocations of a call come from.
const originsCommand = "origins"

// shared stands for tiny objects (under 16 bytes, without pointers) that share a block with another:
// the profiler does not see them.
const shared = "(tiny objects that share a block, and rounding)"

// smallest is the size of the least object: a difference below it is chance.
const smallest = 16

// origins has, by function, what one call allocates.
type origins map[string]measure.Cost

// whereAllocationsCome compares this repository's client with the floor, function by function.
func (b *bench) whereAllocationsCome(ctx context.Context) error {
	for _, what := range []string{"TokenInfo", "401", "RenewToken"} {
		var found [2]origins
		for i, name := range []string{peers.Floor, peers.Esper} {
			text, err := self(ctx, originsCommand, name, what, b.server.URL)
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &found[i]); err != nil {
				return err
			}
		}
		b.report.Add(differences(what, found[0], found[1]))
	}
	return nil
}

// differences lists the functions that allocate more or less often in own than in floor.
func differences(what string, floor, own origins) report.Section {
	section := report.Section{
		Title: "Where the allocations beyond the floor's come from: " + what,
		Text: "Allocations a call, by the innermost function outside the runtime, from a profile of every one (MemProfileRate 1); " +
			"functions that allocate alike in both are left out.",
		Head: []string{"function", "floor", "esper-go"},
	}
	all := maps.Clone(floor)
	maps.Copy(all, own)
	functions := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(
			cmp.Compare(own[b].Allocations-floor[b].Allocations, own[a].Allocations-floor[a].Allocations),
			cmp.Compare(own[b].Bytes-floor[b].Bytes, own[a].Bytes-floor[a].Bytes),
			strings.Compare(a, b))
	})
	for _, f := range functions {
		if floor[f].Allocations != own[f].Allocations || math.Abs(floor[f].Bytes-own[f].Bytes) >= smallest {
			section.Rows = append(section.Rows, []string{"`" + f + "`", originText(floor[f]), originText(own[f])})
		}
	}
	return section
}

func originText(c measure.Cost) string {
	return fmt.Sprintf("%.0f (%.0f B)", c.Allocations, c.Bytes)
}

func originsChild(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%v: want a client, a call and a URL", args)
	}
	runtime.MemProfileRate = 1
	name, what, url := args[0], args[1], args[2]
	path, choose, httpClient := server.OK, call(tokenInfo), tuned
	switch what {
	case "401":
		path, choose = server.Refused, denied
	case "RenewToken":
		choose, httpClient = renewToken, fresh
	}
	p := peers.Find(name)
	client, err := p.New(url+path, httpClient(p))
	if err != nil {
		return err
	}
	method := choose(client)
	found, err := count(func() error { _, err := method(unbound()); return err })
	if err != nil {
		return err
	}
	text, err := json.Marshal(found)
	fmt.Fprintln(os.Stdout, string(text))
	return err
}

// count profiles many calls; what happens less than once in two is of the runtime's own.
func count(call func() error) (origins, error) {
	const calls = 500
	cost, err := measure.Costs(call)
	if err != nil {
		return nil, err
	}
	var snapshots [2]map[[32]uintptr]measure.Cost
	for i := range snapshots {
		for range calls {
			if err := call(); err != nil {
				return nil, err
			}
		}
		snapshots[i] = snapshot()
	}
	found := make(origins)
	for stack, c := range snapshots[1] {
		function := origin(stack)
		sum := found[function]
		sum.Allocations += (c.Allocations - snapshots[0][stack].Allocations) / calls
		sum.Bytes += (c.Bytes - snapshots[0][stack].Bytes) / calls
		found[function] = sum
	}
	seen := measure.Cost{}
	for function, c := range found {
		c.Allocations, c.Bytes = math.Round(c.Allocations), math.Round(c.Bytes)
		if found[function] = c; c.Allocations == 0 || function == "main.snapshot" {
			delete(found, function)
			continue
		}
		seen.Allocations += c.Allocations
	}
	found[shared] = measure.Cost{Allocations: cost.Allocations - seen.Allocations} // their bytes are the block's
	return found, nil
}

// snapshot counts all objects that were allocated so far.
func snapshot() map[[32]uintptr]measure.Cost {
	for range 3 { // the profile lags two collections behind
		runtime.GC()
	}
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, _ := runtime.MemProfile(records, true)
	counts := make(map[[32]uintptr]measure.Cost, n)
	for _, r := range records[:min(n, len(records))] {
		c := counts[r.Stack0]
		counts[r.Stack0] = measure.Cost{Allocations: c.Allocations + float64(r.AllocObjects), Bytes: c.Bytes + float64(r.AllocBytes)}
	}
	return counts
}

// origin is the innermost function outside the runtime, and the one of ours that led there.
func origin(stack [32]uintptr) string {
	depth := slices.Index(stack[:], 0)
	if depth < 0 {
		depth = len(stack)
	}
	inner := ""
	for frames := runtime.CallersFrames(stack[:depth]); ; {
		frame, more := frames.Next()
		name := strings.ReplaceAll(frame.Function, "github.com/esper-go/esper-go/", "")
		if inner == "" && !strings.HasPrefix(name, "runtime.") && !strings.HasPrefix(name, "internal/runtime") {
			inner = name
		}
		if !more {
			return inner
		}
	}
}
