package main

import (
	"os"
	"syscall"
)

// endSignals are those that end the command, in order. Windows sends SIGTERM when a console is closed.
func endSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func terminate(p *os.Process) error { return p.Kill() }
