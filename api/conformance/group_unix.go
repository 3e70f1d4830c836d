//go:build unix

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// ownGroup makes the end of cmd's context kill what cmd has started as well.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
}
