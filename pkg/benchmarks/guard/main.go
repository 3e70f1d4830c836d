// The guard fails if a call allocates more than allocations.json says for this release of Go. The number
// of allocations may not grow at all; the number of bytes may grow a little. Times are not checked.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/measure"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// bytesOver is the largest allowed ratio of measured bytes to committed bytes.
const bytesOver = 1.05

// committed holds the costs by release ("go1.26"), then by call.
type committed map[string]map[string]measure.Cost

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a main program
	}
}

func run(args []string) error {
	if len(args) > 0 && args[0] == server.Command {
		return server.Run()
	}
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
	path := flags.String("file", "guard/allocations.json", "the committed numbers")
	update := flags.Bool("update", false, "commit to what is measured now")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*path)
	if err != nil {
		return err
	}
	want := make(committed)
	if err := json.Unmarshal(text, &want); err != nil {
		return fmt.Errorf("%s: %w", *path, err)
	}
	got, err := costs(context.Background())
	if err != nil {
		return err
	}
	release := minor(runtime.Version())
	if *update {
		want[release] = got
		return write(*path, want)
	}
	return check(release, want[release], got)
}

// minor returns "go1.26" for "go1.26.8".
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func write(path string, numbers committed) error {
	text, err := json.MarshalIndent(numbers, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // for everyone to read
}

// costs measures the calls that the guard checks, over loopback.
func costs(ctx context.Context) (found map[string]measure.Cost, err error) {
	s, err := server.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	good, err := peers.NewEsper(s.URL+server.OK, nil)
	if err != nil {
		return nil, err
	}
	refused, err := peers.NewEsper(s.URL+server.Refused, nil)
	if err != nil {
		return nil, err
	}
	source, err := renew.Open(ctx, s.URL+server.Rotating, renew.Memory(), renew.WithInitialToken(esper.NewSecret(answers.Key)))
	if err != nil {
		return nil, err
	}
	found = make(map[string]measure.Cost)
	for name, call := range map[string]func() error{
		"TokenInfo":  func() error { _, err := good.TokenInfo(ctx); return err },
		"RenewToken": func() error { _, err := good.RenewToken(ctx); return err },
		"error path (401)": func() error {
			if _, err := refused.TokenInfo(ctx); !errors.Is(err, esper.ErrUnauthorized) {
				return fmt.Errorf("%w instead of a 401", err)
			}
			return nil
		},
		"hot path of renew.Source": func() error { _, err := source.TokenContext(ctx); return err },
	} {
		if found[name], err = measure.Costs(call); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return found, nil
}

// check compares got with want, and prints both.
func check(release string, want, got map[string]measure.Cost) error {
	if want == nil {
		return fmt.Errorf("nothing is committed for %s: run the guard with -update and commit what it writes", release)
	}
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(got)) {
		g := got[name]
		w, ok := want[name]
		fmt.Fprintf(os.Stdout, "%-26s %3.0f allocations, %6.0f bytes; committed %3.0f, %6.0f\n", name, g.Allocations, g.Bytes, w.Allocations, w.Bytes)
		switch {
		case !ok:
			failures = append(failures, fmt.Errorf("%s: nothing is committed", name))
		case g.Allocations > w.Allocations:
			failures = append(failures, fmt.Errorf("%s: %.0f allocations a call, more than the %.0f that are committed", name, g.Allocations, w.Allocations))
		case g.Bytes > w.Bytes*bytesOver:
			failures = append(failures, fmt.Errorf("%s: %.0f bytes a call, more than 5 %% over the %.0f that are committed", name, g.Bytes, w.Bytes))
		case g.Allocations < w.Allocations:
			fmt.Fprintf(os.Stdout, "%-26s fewer than committed: -update keeps it so\n", name)
		}
	}
	return errors.Join(failures...)
}
