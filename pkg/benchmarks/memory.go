package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
)

// memoryCommand makes the program a client that meets a body of 1 GiB.
const memoryCommand = "memory"

// footprint is what a process held, in bytes, and the kind of error that the call ended with.
type footprint struct {
	Idle, Peak int64
	Error      string
}

func (b *bench) memory(ctx context.Context) error {
	const measure, aim = "1 GiB body, plain; gzip", "≤ 8 MiB over idle, and an error"
	if runtime.GOOS != "linux" {
		b.report.Aim(measure, aim, "measured on Linux only", false)
		return nil
	}
	section := report.Section{
		Title: "A body of 1 GiB",
		Text:  "Peak resident memory over that before the call, in a fresh process, MiB; and what the call ended with. The body is a good answer with a user's name of 1 GiB.",
		Head:  []string{"client", "plain", "gzip"},
	}
	met, result := true, ""
	names := []string{}
	for _, p := range peers.All() {
		if p.Name != peers.Default && (!b.isShort || p.Name == peers.Esper) { // as the floor
			names = append(names, p.Name)
		}
	}
	if b.python != "" && !b.isShort {
		names = append(names, peers.Python)
	}
	for _, name := range names {
		row := []string{name}
		for _, path := range []string{server.Huge, server.HugeGzip} {
			f, err := b.footprint(ctx, name, path)
			if err != nil {
				return err
			}
			over := float64(f.Peak-f.Idle) / (1 << 20)
			ending := "success"
			if f.Error != "" {
				ending = f.Error
			}
			row = append(row, fmt.Sprintf("%.1f, %s", over, ending))
			if name == peers.Esper {
				met = met && over <= 8 && f.Error != ""
				result += fmt.Sprintf("%.1f MiB, %s; ", over, ending)
			}
		}
		section.Rows = append(section.Rows, row)
	}
	b.report.Add(section)
	b.report.Aim(measure, aim, strings.TrimSuffix(result, "; "), met)
	return nil
}

func (b *bench) footprint(ctx context.Context, name, path string) (f footprint, err error) {
	text := ""
	if name == peers.Python {
		text, err = b.python.run(ctx, "memory", b.server.URL, path)
	} else {
		text, err = self(ctx, memoryCommand, name, b.server.URL, path)
	}
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal([]byte(text), &f)
}

func memoryChild(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%v: want a client, a URL and a path", args)
	}
	p := peers.Find(args[0])
	warm, err := p.New(args[1]+server.OK, nil)
	if err != nil {
		return err
	}
	if _, err := warm.TokenInfo(ctx); err != nil {
		return err
	}
	client, err := p.New(args[1]+args[2], nil)
	if err != nil {
		return err
	}
	runtime.GC()
	f := footprint{}
	if f.Idle, err = resident("VmRSS:"); err != nil {
		return err
	}
	// Forget the peak so far. Where that is not allowed it counts too, and the result is no better for it.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600)
	if _, err := client.TokenInfo(ctx); err != nil {
		f.Error = errorKind(err)
	}
	if f.Peak, err = resident("VmHWM:"); err != nil {
		return err
	}
	text, err := json.Marshal(f)
	fmt.Fprintln(os.Stdout, string(text))
	return err
}

// errorKind is the text of the last error in the chain: short enough for the table.
func errorKind(err error) string {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil {
			return err.Error()
		}
		err = inner.Unwrap()
	}
}

// resident reads a line of the process's status, in bytes.
func resident(name string) (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("memory is measured on Linux only: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", name)
}
