//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// replaceBy replaces esper-key by the program, in the same process. It returns only if that fails.
func replaceBy(path string, args []string) error {
	err := syscall.Exec(path, args, os.Environ()) //nolint:gosec // exec is there to run it
	return &codeError{execCannotRun, fmt.Errorf("%q cannot be run: %w", args[0], err)}
}
