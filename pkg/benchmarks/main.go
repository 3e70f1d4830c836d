// The benchmarks compare this repository's client with its peers, against one local server, and
// write RESULTS.md. Run them with make bench; -short only proves that they run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

// buildFolder holds what a run makes: the Python environment and the programs that are weighed.
const buildFolder = ".build"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a main program
	}
}

// run does what the first argument says, in the processes that the harness starts of itself, or
// runs the harness.
func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(args) > 0 {
		switch args[0] {
		case server.Command:
			return server.Run()
		case throughputCommand:
			return throughputChild(args[1:])
		case memoryCommand:
			return memoryChild(ctx, args[1:])
		case sourceCommand:
			return sourceChild(ctx, args[1:])
		case originsCommand:
			return originsChild(args[1:])
		}
	}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	short := flags.Bool("short", false, "few and small rounds, whose figures mean nothing")
	out := flags.String("out", "RESULTS.md", "where the report goes")
	python := flags.String("python", "python3.11", "the interpreter for the vendor's client; empty leaves it out")
	only := flags.String("only", "", "the steps to run, with commas between; the report then has only these")
	if err := flags.Parse(args); err != nil {
		return err
	}
	amount := full()
	if *short {
		amount = quick()
	}
	return harness(ctx, amount, *python, *only, *out)
}

// unbound is the context of all measured calls: one that cannot end costs each client the same,
// which is nothing.
func unbound() context.Context { return context.Background() }

// bench is one run.
type bench struct {
	amounts
	server *server.Server
	python python
	report *report.Report
}

func harness(ctx context.Context, amount amounts, interpreter, only, out string) (err error) {
	if err := os.MkdirAll(filepath.Join(buildFolder, "bin"), 0o750); err != nil {
		return err
	}
	py, err := newPython(ctx, interpreter)
	if err != nil {
		return err
	}
	b := &bench{amounts: amount, python: py}
	if b.server, err = server.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.Close()) }()
	b.report = &report.Report{Facts: facts(amount, py)}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"allocations", b.allocations}, // first: nothing else runs in this process yet
		{"sequential", b.sequential},
		{"alone", b.alone},
		{"errors", b.failing},
		{"renewal", b.renewal},
		{"source", b.hotPath},
		{"throughput", b.throughput},
		{"callers", b.callers},
		{"processes", b.processes},
		{"memory", b.memory},
		{"programs", b.programs},
	}
	began := time.Now()
	for _, step := range steps {
		if only != "" && !strings.Contains(","+only+",", ","+step.name+",") {
			continue
		}
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", step.name, time.Since(start).Seconds())
	}
	b.report.Facts = append(b.report.Facts, [2]string{"Took", time.Since(began).Round(time.Second).String()})
	findings, err := os.ReadFile("FINDINGS.md")
	if err != nil {
		return err
	}
	var page strings.Builder
	b.report.Write(&page, string(findings))
	return os.WriteFile(out, []byte(page.String()), 0o644) //nolint:gosec // for everyone to read
}
