package main

import (
	"os"
	"os/exec"
	"syscall"
)

// endSignals returns the signals after which the command finishes what it has begun, and ends. Go reports SIGTERM when
// the console is closed.
func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// groupOf returns a function that ends a program. Windows has no process groups.
func groupOf(cmd *exec.Cmd) (end func(hard bool) error) {
	return func(bool) error {
		if cmd.Process == nil {
			return nil
		}
		return cmd.Process.Kill()
	}
}
