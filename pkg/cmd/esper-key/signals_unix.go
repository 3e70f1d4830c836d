//go:build unix

package main

import (
	"os"
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

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
