package main

import (
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
)

func TestCheck(t *testing.T) {
	want := map[string]measure.Cost{"call": {Allocations: 80, Bytes: 1000}}
	for _, test := range []struct {
		name    string
		want    map[string]measure.Cost
		got     measure.Cost
		failure string // empty: check passes
	}{
		{"the same", want, measure.Cost{Allocations: 80, Bytes: 1000}, ""},
		{"fewer", want, measure.Cost{Allocations: 79, Bytes: 900}, ""},
		{"bytes a little over", want, measure.Cost{Allocations: 80, Bytes: 1049}, ""},
		{"one more", want, measure.Cost{Allocations: 81, Bytes: 1000}, "81 allocations"},
		{"bytes far over", want, measure.Cost{Allocations: 80, Bytes: 1051}, "1051 bytes"},
		{"another release", nil, measure.Cost{Allocations: 80}, "nothing is committed for go1.99"},
		{"another call", map[string]measure.Cost{"other": {}}, measure.Cost{}, "nothing is committed"},
	} {
		err := check("go1.99", test.want, map[string]measure.Cost{"call": test.got})
		if test.failure == "" && err != nil || test.failure != "" && (err == nil || !strings.Contains(err.Error(), test.failure)) {
			t.Errorf("%s: check: %v, want %q", test.name, err, test.failure)
		}
	}
}

func TestMinor(t *testing.T) {
	for version, want := range map[string]string{"go1.26.8": "go1.26", "go1.27": "go1.27", "devel": "devel"} {
		if got := minor(version); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
