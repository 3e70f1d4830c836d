package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// catchSignals has each signal end the waits of the command. A renewal that has begun is finished first, even after a
// second signal, and a command that may be renewing the key says so. Until now a signal has ended the process, which may
// have waited for a key from a terminal or a pipe.
func (a *app) catchSignals() {
	if len(a.signals) == 0 { // Notify would catch all
		return
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, a.signals...)
	go func() {
		for s := range came {
			a.ended.CompareAndSwap(0, int64(codeOfSignal(s)))
			a.stop()
			if !a.readOnly {
				a.tell("stopping; a renewal that has begun is finished first, which takes two minutes at most: do not kill esper-key, or the new key may be lost")
			}
		}
	}()
}

// codeOfSignal returns the exit code after a signal, as a shell has it.
func codeOfSignal(s os.Signal) int {
	const base = 128
	number, _ := s.(syscall.Signal)
	return base + int(number)
}

// during says on a terminal what the command does, if that takes longer than two seconds. The caller calls end after it.
func during(c *cobra.Command, what string, limit time.Duration) (end func()) {
	const soon = 2 * time.Second
	f, ok := c.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	until := time.Now().Add(limit)
	timer := time.AfterFunc(soon, func() {
		_, _ = fmt.Fprintf(f, "esper-key: %s, until %s at the latest\n", what, until.Format(time.TimeOnly))
	})
	return func() { timer.Stop() }
}
