package main

import (
	"runtime"
	"slices"
	"testing"

	"github.com/google/pprof/profile"
)

func TestPackageOf(t *testing.T) {
	for symbol, want := range map[string]string{
		"net/http.(*Client).Do": "net/http", "main.main": "main", "github.com/a/b/v2.F[go.shape.int]": "github.com/a/b/v2",
		"type:*net/http.Request": "type: (the compiler's tables)", "_start": "_start",
	} {
		if got := packageOf(symbol); got != want {
			t.Errorf("%s: %s, want %s", symbol, got, want)
		}
	}
}

func TestPartOf(t *testing.T) {
	const module = "github.com/esper-go/esper-go/"
	for _, test := range []struct {
		stack []string // innermost first
		want  string
	}{
		{[]string{"runtime.mallocgc", "encoding/json.Unmarshal", module + "pkg/esper.(*Client).TokenInfo"}, "decoding JSON"},
		{[]string{module + "pkg/wire.text", "encoding/json.Unmarshal"}, "decoding JSON"},
		{[]string{module + "pkg/benchmarks/internal/peers/peer.Canned.RoundTrip", "net/http.send"}, "the canned transport itself"},
		{[]string{"runtime.mallocgc", module + "pkg/esper/internal/redact.fold", module + "pkg/esper/internal/redact.(*Matcher).In"}, "looking for echoes of keys"},
		{[]string{"net/url.parse", module + "gen.NewGetTokenInfoRequest"}, "building the request"},
		{[]string{"context.WithDeadlineCause", module + "pkg/esper.(*Client).newAttempt"}, "the deadline of the attempt"},
		{[]string{"runtime.mapassign", module + "pkg/esper.(*Client).attempt"}, "the rest of the client"},
		{[]string{"runtime.gcDrain", "runtime.gcBgMarkWorker"}, "the garbage collector, in the background"},
		{[]string{"runtime.schedule"}, elsewhere},
	} {
		sample := new(profile.Sample)
		for _, name := range test.stack {
			line := profile.Line{Function: &profile.Function{Name: name}}
			sample.Location = append(sample.Location, &profile.Location{Line: []profile.Line{line}})
		}
		if got := partOf(sample); got != test.want {
			t.Errorf("%v: %s, want %s", test.stack, got, test.want)
		}
	}
}

// TestDifferences: what is equal is left out, what is most in excess comes first.
func TestDifferences(t *testing.T) {
	floor := origins{"same": {Allocations: 3, Bytes: 30}, "fewer": {Allocations: 5, Bytes: 50}, "gone": {Allocations: 1, Bytes: 10}, "larger": {Allocations: 1, Bytes: 16}}
	own := origins{"same": {Allocations: 3, Bytes: 30}, "fewer": {Allocations: 2, Bytes: 20}, "more": {Allocations: 1, Bytes: 10}, "most": {Allocations: 4, Bytes: 40}, "larger": {Allocations: 1, Bytes: 32}}
	got := differences("TokenInfo", floor, own).Rows
	want := [][]string{
		{"`most`", "0 (0 B)", "4 (40 B)"},
		{"`more`", "0 (0 B)", "1 (10 B)"},
		{"`larger`", "1 (16 B)", "1 (32 B)"},
		{"`gone`", "1 (10 B)", "0 (0 B)"},
		{"`fewer`", "5 (50 B)", "2 (20 B)"},
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestCount: the profile and the tiny objects that it does not see make up all allocations.
func TestCount(t *testing.T) {
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1
	defer func() { runtime.MemProfileRate = rate }()
	var sink [][]byte
	found, err := count(func() error {
		sink = append(sink[:0:0], make([]byte, 100), make([]byte, 200))
		return nil
	})
	if err != nil || len(sink) != 2 {
		t.Fatal(err)
	}
	const here = "pkg/benchmarks.TestCount.func2"
	if len(found) != 2 || found[here].Allocations != 3 || found[here].Bytes < 300 || found[shared].Allocations != 0 {
		t.Errorf("%v, want 3 allocations in %s", found, here)
	}
}
