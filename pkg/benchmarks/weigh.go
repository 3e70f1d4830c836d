package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
)

// heaviest is how many packages the table of weights shows.
const heaviest = 12

// whereBytesGo lists what own holds beyond floor, by package.
func (b *bench) whereBytesGo(ctx context.Context, floor, own program) error {
	less, err := weights(ctx, floor.path)
	if err != nil {
		return err
	}
	more, err := weights(ctx, own.path)
	if err != nil {
		return err
	}
	for name, n := range less {
		more[name] -= n
	}
	section := report.Section{
		Title: "Where the bytes beyond the floor's binary come from",
		Text:  fmt.Sprintf("Bytes of code and data by package, as `go tool nm -size` has them; the %d largest. Tables for the debugger and for stack traces grow with them.", heaviest),
		Head:  []string{"package", "bytes more than in the floor's"},
	}
	names := slices.SortedFunc(maps.Keys(more), func(a, b string) int { return cmp.Or(more[b]-more[a], strings.Compare(a, b)) })
	for _, name := range names[:min(heaviest, len(names))] {
		section.Rows = append(section.Rows, []string{"`" + name + "`", strconv.Itoa(more[name])})
	}
	b.report.Add(section)
	return nil
}

// weights sums the symbols of a binary by package.
func weights(ctx context.Context, path string) (map[string]int, error) {
	text, err := output(ctx, "go", "tool", "nm", "-size", path)
	if err != nil {
		return nil, err
	}
	sums := make(map[string]int)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line) // address, size, kind, name
		if len(fields) < 4 || strings.Contains("UBb", fields[2]) {
			continue // of no weight in the file
		}
		size, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, err
		}
		sums[packageOf(fields[3])] += size
	}
	return sums, nil
}

// packageOf is "net/http" of "net/http.(*Client).Do".
func packageOf(symbol string) string {
	for _, prefix := range []string{"type:", "go:"} {
		if strings.HasPrefix(symbol, prefix) {
			return prefix + " (the compiler's tables)"
		}
	}
	symbol, _, _ = strings.Cut(symbol, "[")
	slash := strings.LastIndexByte(symbol, '/')
	dot := strings.IndexByte(symbol[slash+1:], '.')
	if dot < 0 {
		return symbol
	}
	return symbol[:slash+1+dot]
}
