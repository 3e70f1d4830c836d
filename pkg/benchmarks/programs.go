package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
)

// program is a binary that makes one call.
type program struct {
	name, path string
	size       int64
	modules    int // besides the standard library and this repository
}

// programs weighs programs that make one call, and times them from start to end.
func (b *bench) programs(ctx context.Context) error {
	list, err := build(ctx)
	if err != nil {
		return err
	}
	times, importTime, err := b.cold(ctx, list)
	if err != nil {
		return err
	}
	section := report.Section{
		Title: "A program that makes one call",
		Text: fmt.Sprintf("Built with go build. The time is that of a whole process, from start to end, in %d shuffled rounds. "+
			"esperclient's program is a script; its import alone takes %s ms.", b.coldRounds, importTime),
		Head: []string{"client", "binary, bytes", "ratio", "linked modules", "cold process, ms (median)", "ratio, 95 %"},
	}
	var size, cold string
	var sizeMet, coldMet bool
	for _, p := range append(list, program{name: peers.Python}) {
		if times[p.name] == nil {
			continue // no Python
		}
		ratios, err := stats.Ratios(times[p.name], times[peers.Floor])
		if err != nil {
			return err
		}
		e, weight := stats.Bootstrap(ratios), float64(p.size)/float64(list[0].size)
		row := []string{p.name, strconv.FormatInt(p.size, 10), fmt.Sprintf("%.3f", weight), strconv.Itoa(p.modules)}
		if p.path == "" {
			row = []string{p.name, "–", "–", "–"}
		}
		section.Rows = append(section.Rows, append(row, fmt.Sprintf("%.2f", stats.Median(times[p.name])/1e6), report.Ratio(e)))
		if p.name == peers.Esper {
			size, sizeMet = fmt.Sprintf("%.3f, %d modules", weight, p.modules), weight <= 1.05 && p.modules <= 5
			cold, coldMet = report.Ratio(e), e.Median <= 1.05
		}
	}
	b.report.Add(section)
	for _, p := range list {
		if p.name == peers.Esper {
			if err := b.whereBytesGo(ctx, list[0], p); err != nil {
				return err
			}
		}
	}
	b.report.Aim("binary of a program that makes one call, and its linked modules", "≤ 1.05 × the floor's; ≤ 5 modules", size, sizeMet)
	b.report.Aim("import and first call (cold process)", "≤ 1.05 × floor", cold, coldMet)
	return nil
}

// build builds the programs, the floor's first.
func build(ctx context.Context) (list []program, err error) {
	for _, p := range peers.All() {
		if p.Program == "" {
			continue
		}
		path := filepath.Join(buildFolder, "bin", p.Program)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./programs/"+p.Program) //nolint:gosec // our own names
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
		}
		file, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, err
		}
		built := program{name: p.Name, path: path, size: file.Size()}
		for _, m := range info.Deps {
			if m.Path != "github.com/esper-go/esper-go" {
				built.modules++
			}
		}
		list = append(list, built)
	}
	return list, nil
}

// cold runs the programs in turn. It returns their times, and the median of Python's import.
func (b *bench) cold(ctx context.Context, list []program) (times map[string][]float64, importTime string, err error) {
	base := b.server.URL + server.OK
	var subjects []measure.Subject
	for _, p := range list {
		subjects = append(subjects, measure.Repeat(p.name, func() error { _, err := output(ctx, p.path, base); return err }))
	}
	importTime = "–"
	var imports []float64
	if b.python != "" {
		subjects = append(subjects, measure.Repeat(peers.Python, func() error {
			text, err := b.python.run(ctx, "cold", base)
			if err != nil {
				return err
			}
			ms, err := strconv.ParseFloat(text, 64)
			imports = append(imports, ms)
			return err
		}))
	}
	times, err = measure.Paired(subjects, b.coldRounds, 1)
	if len(imports) > 0 {
		importTime = strconv.FormatFloat(stats.Median(imports), 'f', 0, 64)
	}
	return times, importTime, err
}
