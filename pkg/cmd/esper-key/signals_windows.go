package main

import (
	"os"
	"syscall"
)

// endSignals returns the signals after which the command finishes what it has begun, and ends. Go reports SIGTERM when
// the console is closed.
func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func terminate(p *os.Process) error { return p.Kill() }
