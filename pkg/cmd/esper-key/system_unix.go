//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// endSignals returns the signals after which the command finishes what it has begun, and ends. It also catches SIGPIPE,
// which then does nothing: if nobody reads the log any more, SIGPIPE must not kill the process during a renewal.
func endSignals() []os.Signal {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) { // it is ignored after nohup
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// ownGroup has a program start in a process group of its own, to which the programs belong that it starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup sends a signal to all programs of that group.
func endGroup(cmd *exec.Cmd, signal syscall.Signal) error {
	return syscall.Kill(-cmd.Process.Pid, signal)
}

// replaceBy replaces esper-key by the program, in the same process. It returns only if that fails.
func replaceBy(path string, args []string) error {
	return cannotRun(args[0], syscall.Exec(path, args, os.Environ())) //nolint:gosec // exec is there to run it
}
