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

// groupOf makes a process group of a program and of the programs that it starts. The returned function ends all of them:
// with SIGKILL if it is to be hard, else with SIGTERM.
func groupOf(cmd *exec.Cmd) (end func(hard bool) error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func(hard bool) error {
		signal := syscall.SIGTERM
		switch {
		case cmd.Process == nil:
			return nil
		case hard:
			signal = syscall.SIGKILL
		}
		return syscall.Kill(-cmd.Process.Pid, signal)
	}
}
