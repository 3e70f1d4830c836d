package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/server"
	"github.com/esper-go/esper-go/pkg/esper"
)

// memoryCommand is the argument with which the program is a client that gets an answer of 1 GiB.
const memoryCommand = "memory"

// memory measures by how much the memory of a process grows while it gets such an answer.
func (b *bench) memory(ctx context.Context) error {
	for name, path := range map[string]string{"plain": server.Huge, "gzip": server.HugeGzip} {
		result := "measured on Linux only"
		if runtime.GOOS == "linux" {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			child := exec.CommandContext(ctx, self, memoryCommand, b.url, path) //nolint:gosec // this program
			child.Stderr = os.Stderr
			text, err := child.Output()
			if err != nil {
				return err
			}
			grown, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
			if err != nil {
				return err
			}
			result = fmt.Sprintf("%.1f MiB", grown/(1<<20))
		}
		b.aim("memory for an answer of 1 GiB, "+name, "≤ 8 MiB", result)
	}
	return nil
}

// memoryChild gets the answer, and prints by how many bytes its memory grew meanwhile.
func memoryChild(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%v: want a URL and a path", args)
	}
	warm, err := peers.NewEsper(args[0]+server.OK, nil)
	if err != nil {
		return err
	}
	if _, err := warm.TokenInfo(ctx); err != nil {
		return err
	}
	client, err := peers.NewEsper(args[0]+args[1], nil)
	if err != nil {
		return err
	}
	runtime.GC()
	before, err := resident("VmRSS:")
	if err != nil {
		return err
	}
	// Reset the peak (VmHWM). If that is not allowed, an earlier peak counts too, which can only make the result worse.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600)
	if _, err := client.TokenInfo(ctx); !errors.Is(err, esper.ErrResponseTooLarge) {
		return fmt.Errorf("the answer is not refused: %w", err)
	}
	peak, err := resident("VmHWM:")
	fmt.Fprintln(os.Stdout, peak-before)
	return err
}

// resident returns the value of a line in /proc/self/status, in bytes.
func resident(name string) (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/self/status", name)
}
