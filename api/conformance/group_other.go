//go:build !unix

package main

import (
	"os/exec"
	"time"
)

// ownGroup does without: here the end of cmd's context kills cmd alone.
func ownGroup(cmd *exec.Cmd) { cmd.WaitDelay = time.Second }
