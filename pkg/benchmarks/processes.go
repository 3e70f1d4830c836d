package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/child"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// sourceCommand makes the program a process with a renewing source.
const sourceCommand = "source"

// processes shows how long it takes until all processes on one file have a new key.
func (b *bench) processes(ctx context.Context) error {
	section := report.Section{
		Title: "renew.Source, as processes on one file grow",
		Text:  "All hold a key in its last minute and ask for it at once: milliseconds until the last has the new one, and renewals that the server saw.",
		Head:  []string{"processes", "rounds", "ms (median)", "ms (most)", "renewals a round"},
	}
	folder, err := os.MkdirTemp("", "renew-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the system cleans up too
	for _, n := range b.processCounts {
		times, posts, err := b.family(ctx, folder, n)
		if err != nil {
			return fmt.Errorf("%d processes: %w", n, err)
		}
		most := times[0]
		for _, t := range times {
			most = max(most, t)
		}
		section.Rows = append(section.Rows, []string{
			strconv.Itoa(n), strconv.Itoa(len(times)), fmt.Sprintf("%.1f", stats.Median(times)), fmt.Sprintf("%.1f", most),
			fmt.Sprintf("%.2f", float64(posts)/float64(len(times))),
		})
	}
	b.report.Add(section)
	return nil
}

// family runs the rounds of n processes.
func (b *bench) family(ctx context.Context, folder string, n int) (times []float64, posts int64, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, 0, err
	}
	var all []*child.Child
	defer func() {
		for _, c := range all {
			err = errors.Join(err, c.Close())
		}
	}()
	for range n {
		c, err := child.Start(ctx, program, sourceCommand, b.server.URL+server.Rotating)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, c)
	}
	before, err := b.server.Count()
	if err != nil {
		return nil, 0, err
	}
	for round := range b.processRounds {
		path := filepath.Join(folder, fmt.Sprintf("key-%d-%d.json", n, round))
		due := server.DuePrefix + strconv.Itoa(round)
		if _, err := askAll(all, "open "+path+" "+due); err != nil {
			return nil, 0, err
		}
		start := time.Now()
		keys, err := askAll(all, "token")
		if err != nil {
			return nil, 0, err
		}
		times = append(times, float64(time.Since(start).Microseconds())/1e3)
		for _, key := range keys {
			if key != keys[0] || key == due {
				return nil, 0, fmt.Errorf("after a round one process has %s, another %s", keys[0], key)
			}
		}
	}
	after, err := b.server.Count()
	return times, after.Posts - before.Posts, err
}

// askAll tells all before it hears any.
func askAll(all []*child.Child, line string) ([]string, error) {
	for _, c := range all {
		if err := c.Tell(line); err != nil {
			return nil, err
		}
	}
	answers := make([]string, len(all))
	for i, c := range all {
		var err error
		if answers[i], err = c.Hear(); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// sourceChild opens a source ("open PATH KEY"), or asks it for its key ("token").
func sourceChild(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%v: want a URL", args)
	}
	var source *renew.Source
	return child.Serve(func(words []string) (answer string, err error) {
		switch {
		case len(words) == 3 && words[0] == "open":
			source, err = renew.Open(ctx, args[0], renew.File(words[1]), renew.WithInitialToken(esper.NewSecret(words[2])))
			return "opened", err
		case len(words) == 1 && words[0] == "token" && source != nil:
			token, err := source.TokenContext(ctx)
			if err != nil {
				return "", err
			}
			return token.AccessToken, nil
		}
		return "", fmt.Errorf("no such command: %q", words)
	})
}
