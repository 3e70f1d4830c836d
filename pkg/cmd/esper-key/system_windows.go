package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// endSignals returns the signals after which the command finishes what it has begun, and ends. Go reports SIGTERM when
// the console is closed.
func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// ownGroup does nothing: Windows has no process groups.
func ownGroup(*exec.Cmd) {}

// endGroup ends a program.
func endGroup(cmd *exec.Cmd, _ syscall.Signal) error { return cmd.Process.Kill() }

// replaceBy runs the program as a child, since Windows cannot replace a process. Ctrl-C reaches both processes; this
// one waits for the child to end.
func replaceBy(path string, args []string) error {
	cmd := exec.Command(path, args[1:]...) //nolint:gosec,noctx // exec is there to run it; it ends by itself
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		return &failure{ended.ExitCode(), nil}
	}
	return cannotRun(args[0], err)
}
