//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// replaceBy makes this process the program. It returns only if that fails.
func replaceBy(path string, args, environment []string) error {
	err := syscall.Exec(path, args, environment) //nolint:gosec // it is what the command is for
	return &codeError{execCannotRun, fmt.Errorf("%q cannot be run: %w", args[0], err)}
}
