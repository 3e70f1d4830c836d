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
		{[]string{"runtime.mallocgc", "net/http.(*Request).WithContext", module + "pkg/esper.(*seal).unseal"}, "adding the key on a copy of the request"},
		{[]string{"context.WithDeadlineCause", module + "pkg/esper.(*doer).newSeal"}, "the deadline of the attempt"},
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
	floor := origins{"same": 3, "fewer": 5, "gone": 1}
	own := origins{"same": 3, "fewer": 2, "more": 1, "most": 4}
	got := differences("TokenInfo", floor, own).Rows
	want := [][]string{{"`most`", "0", "4"}, {"`more`", "0", "1"}, {"`gone`", "1", "0"}, {"`fewer`", "5", "2"}}
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
	if len(found) != 2 || found[here] != 3 || found[shared] != 0 {
		t.Errorf("%v, want 3 allocations in %s", found, here)
	}
}
