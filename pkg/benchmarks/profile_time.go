package main

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
)

// parts is where the time of a call can go: a sample belongs to the innermost function that one of
// the words is part of.
//
//nolint:gochecknoglobals // a table
var parts = []struct{ name, words string }{
	{"decoding JSON", "encoding/json. pkg/wire."},
	{"the canned transport itself", "peer.Canned"},
	{"reading the body", "internal/body.Read io.ReadAll"},
	{"finding members and keys in it", "internal/body."},
	{"looking for echoes of keys", "internal/redact. esper.(*credential).matcher"},
	{"building the request", "gen.NewGet gen.NewRenew net/http.NewRequest esper.(*Client).describe"},
	{"the deadline of the attempt", "esper.(*Client).newAttempt esper.(*attempt).end context. time. net/http.setRequestCancel"},
	{"net/http's Client", "net/http.(*Client) net/http.send"},
	{"the rest of the client", "pkg/esper. peers/floor."},
	{"the garbage collector, in the background", "runtime.gcBgMark runtime.bgsweep runtime.bgscavenge"},
}

const elsewhere, total = "the runtime, elsewhere", "all"

// whereTimeGoes profiles the floor and this repository's client without a network.
func (b *bench) whereTimeGoes(list []measure.Subject) error {
	columns := make(map[string]map[string]float64)
	for _, s := range list {
		if s.Name != peers.Floor && s.Name != peers.Esper {
			continue
		}
		p, calls, err := cpuProfile(s, time.Duration(b.profileSeconds)*time.Second)
		if err != nil {
			return err
		}
		columns[s.Name] = split(p, calls)
	}
	section := report.Section{
		Title: "Where the microseconds go: TokenInfo, library alone",
		Text:  "Microseconds of CPU a call, from a profile (pprof); a sample counts for the innermost part. The sum may exceed the time above, since the collector works beside the caller.",
		Head:  []string{"part", "floor, µs", "esper-go, µs"},
	}
	for _, name := range append(names(), elsewhere, total) {
		row := []string{name}
		for _, client := range []string{peers.Floor, peers.Esper} {
			row = append(row, report.Micros(columns[client][name]))
		}
		section.Rows = append(section.Rows, row)
	}
	b.report.Add(section)
	return nil
}

func names() (list []string) {
	for _, p := range parts {
		list = append(list, p.name)
	}
	return list
}

func cpuProfile(s measure.Subject, d time.Duration) (p *profile.Profile, calls int, err error) {
	const block = 1000
	var out bytes.Buffer
	if err := pprof.StartCPUProfile(&out); err != nil {
		return nil, 0, err
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		if _, err := s.Block(block); err != nil {
			pprof.StopCPUProfile()
			return nil, 0, fmt.Errorf("%s: %w", s.Name, err)
		}
		calls += block
	}
	pprof.StopCPUProfile()
	p, err = profile.Parse(&out)
	return p, calls, err
}

// split returns each part's nanoseconds a call.
func split(p *profile.Profile, calls int) map[string]float64 {
	sums := make(map[string]float64)
	for _, sample := range p.Sample {
		ns := float64(sample.Value[1]) / float64(calls)
		sums[partOf(sample)] += ns
		sums[total] += ns
	}
	return sums
}

func partOf(sample *profile.Sample) string {
	for _, location := range sample.Location {
		for _, line := range location.Line {
			function := strings.ReplaceAll(line.Function.Name, "github.com/esper-go/esper-go/", "")
			for _, p := range parts {
				if slices.ContainsFunc(strings.Fields(p.words), func(word string) bool {
					return strings.HasPrefix(function, word) || strings.Contains(function, "/"+word)
				}) {
					return p.name
				}
			}
		}
	}
	return elsewhere
}
