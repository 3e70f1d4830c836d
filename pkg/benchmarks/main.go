// The benchmarks compare this repository's client with others. Blocks of calls of the clients take turns in one process,
// so that other load on the machine slows down all of them alike. They write RESULTS.md. Run them with make bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a main program
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(args) > 0 {
		switch args[0] {
		case server.Command:
			return server.Run()
		case memoryCommand:
			return memoryChild(ctx, args[1:])
		}
	}
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	short := flags.Bool("short", false, "few and small rounds, whose figures mean nothing")
	out := flags.String("out", "RESULTS.md", "where the report goes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{blocks: 200}
	if *short {
		b.blocks = 4
	}
	return b.run(ctx, *out)
}

// bench is one run of the benchmarks.
type bench struct {
	blocks int // how many blocks of each subject are measured
	url    string
	aims   strings.Builder // rows of the table of aims
	tables strings.Builder
}

func (b *bench) run(ctx context.Context, out string) (err error) {
	s, err := server.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b.url = s.URL
	began := time.Now()
	for _, step := range []func(context.Context) error{b.calls, b.transport, b.source, b.hostile, b.memory, b.command} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	page := fmt.Sprintf(`# Numbers

Made by %[1]smake bench%[1]s; not to be edited. %[2]s, %[3]s/%[4]s, %[5]d processors, %[6]s in all.

Times are ratios, taken in pairs: %[7]d blocks of calls of each, in random order in one process, against one server in another.
A ratio is the median over the blocks; 95 %% of such medians lie in the brackets. Below 1, esper-go is faster.

| measure | aim | result |
|---|---|---|
%[8]s
"Careful" is a client written by hand with what esper-go has too: a time limit, a size limit, no redirects. "Bare" is one
without them: it hangs with a server that hangs, reads an answer of any length, and carries the key to where a redirect leads.
%[1]smake bench-guard%[1]s fails if a call allocates more than today.
%[9]s`, "`", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Since(began).Round(time.Second), b.blocks, b.aims.String(), b.tables.String())
	if err := os.MkdirAll(filepath.Dir(out), 0o750); err != nil {
		return err
	}
	return os.WriteFile(out, []byte(page), 0o644) //nolint:gosec // for everyone to read
}

func (b *bench) aim(name, aim, result string) {
	fmt.Fprintf(&b.aims, "| %s | %s | %s |\n", name, aim, result)
}

// table adds a table. Its first row is the head.
func (b *bench) table(title, text string, rows ...[]string) {
	fmt.Fprintf(&b.tables, "\n## %s\n\n%s\n\n", title, text)
	for i, row := range rows {
		fmt.Fprintf(&b.tables, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.tables.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}

// ratio returns the median of the ratios of one's times to other's, with its interval.
func ratio(times map[string][]float64, one, other string) (string, error) {
	ratios, err := measure.Ratios(times[one], times[other])
	if err != nil {
		return "", err
	}
	e := measure.Bootstrap(ratios)
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Median, e.Low, e.High), nil
}
