package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// replaceBy runs the program as a child, since Windows cannot replace a process. Ctrl-C reaches both processes; this
// one waits for the child to end.
func replaceBy(path string, args []string) error {
	cmd := exec.Command(path, args[1:]...) //nolint:gosec,noctx // exec is there to run it; it ends by itself
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return &codeError{ended.ExitCode(), nil}
	}
	if err != nil {
		return &codeError{execCannotRun, fmt.Errorf("%q cannot be run: %w", args[0], err)}
	}
	return nil
}
