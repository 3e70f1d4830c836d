//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// endSignals are those that end the command, in order. SIGPIPE is among them so that it does not kill: a log
// that nobody reads any more must not end a renewal.
func endSignals() []os.Signal {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
