package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverCommand {
		if err := serve(); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func server(tb testing.TB) string {
	tb.Helper()
	base, stop, err := startServer(tb.Context())
	must(tb, err)
	tb.Cleanup(stop)
	return base
}

func all(tb testing.TB, base string) []client {
	tb.Helper()
	found, err := clients(base)
	must(tb, err)
	return found
}

// TestAllocations is the guard: a call allocates no more than this. Lower a number with the code that earns it.
func TestAllocations(t *testing.T) {
	base := server(t)
	ctx := t.Context()
	working, refusing := all(t, base+good)[0], all(t, base+refused)[0]
	source, _, err := sources(ctx, base+good)
	must(t, err)
	for _, test := range []struct {
		name string
		most float64
		call func() error
	}{
		{"TokenInfo", 89, func() error { _, err := working.tokenInfo(ctx); return err }},
		{"RenewToken", 286, func() error { _, err := working.renewToken(ctx); return err }},
		{"TokenInfo, 401", 129, func() error {
			if _, err := refusing.tokenInfo(ctx); !errors.Is(err, esper.ErrUnauthorized) {
				return fmt.Errorf("%w instead of a 401", err)
			}
			return nil
		}},
		{"Source.TokenContext", 0, func() error { _, err := source.TokenContext(ctx); return err }},
	} {
		got, err := allocations(test.call)
		if err != nil || got > test.most {
			t.Errorf("%s: %.0f allocations, want %.0f at most; %v", test.name, got, test.most, err)
		}
		t.Logf("%s: %.0f allocations of %.0f", test.name, got, test.most)
	}
}

func Benchmark(b *testing.B) {
	base := server(b) + good
	subjects, err := transports(b.Context(), base)
	must(b, err)
	for _, c := range all(b, base) {
		call := func() error { _, err := c.tokenInfo(b.Context()); return err }
		subjects = append(subjects, subject{"TokenInfo, " + c.name, call})
	}
	for _, s := range subjects {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(b, s.call())
			}
		})
	}
}

// The clients decode the same: one that decodes less would be faster.
func TestSameWork(t *testing.T) {
	base := server(t)
	end := time.Date(2099, 11, 19, 15, 42, 16, 637203000, time.UTC)
	for _, c := range all(t, base+good) {
		got, err := c.tokenInfo(t.Context())
		must(t, err)
		switch v := got.(type) {
		case *tokenInfo:
			if v.ID != "570" || v.Token != key || !v.ExpiresOn.Equal(end) || len(v.Scope) != 6 || v.DeveloperApp != developerAppID {
				t.Errorf("%s: %+v", c.name, v)
			}
		case *esper.TokenInfo:
			if v.Token.Reveal() != key || !v.ExpiresAt.Equal(end) || len(v.Scope) != 6 {
				t.Errorf("%s: %+v", c.name, v)
			}
		default:
			t.Errorf("%s: %T", c.name, v)
		}
		if _, err := c.renewToken(t.Context()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range all(t, base+refused) {
		if _, err := c.tokenInfo(t.Context()); err == nil {
			t.Errorf("%s returns no error for a 401", c.name)
		}
	}
}

// Noise that slows down both of a pair does not change their ratio.
func TestRatio(t *testing.T) {
	one, other := make([]float64, 40), make([]float64, 40)
	for i := range one {
		noise := 1 + float64(i*i%17)
		one[i], other[i] = 1.25*noise, noise
	}
	if r := ratioOf(one, other); math.Abs(r.median-1.25)+math.Abs(r.low-1.25)+math.Abs(r.high-1.25) > 1e-9 {
		t.Errorf("%+v, want 1.25", r)
	}
	if m := median([]float64{9, 1, 5, 3}); m != 4 {
		t.Errorf("the median is %v, want 4", m)
	}
	if r := ratioOf([]float64{1, 2, 3, 4, 5}, []float64{1, 1, 1, 1, 1}); r.median != 3 || r.low >= 3 || r.high <= 3 {
		t.Errorf("%+v, want 3 within its interval", r)
	}
}

// A short run writes the whole page.
func TestReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "RESULTS.md")
	must(t, run([]string{"-short", "-out", out}))
	text, err := os.ReadFile(out)
	must(t, err)
	for _, part := range []string{ours, careful, "oauth2", "gzip", "| 10000 |", "esper-key"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the page does not say %q:\n%s", part, text)
		}
	}
}
