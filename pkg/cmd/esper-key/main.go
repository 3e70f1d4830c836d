// Esper-key keeps an Esper API key renewed, for operators and for programs in any language. The key lives in a store: a
// file, a database or a Kubernetes Secret. `esper-key --help` lists the commands; RUNBOOK.md says what to do when a key
// is lost or has leaked.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// The exit codes of all commands except check, which uses those of monitoring plugins, and exec, which uses those of
// env(1).
const (
	exitFailed = 1 // the command failed, and may be tried again
	exitUsage  = 2
	exitPerson = 3 // the key is lost, refused or missing, or cannot be renewed: a person has to act
	// 128 and the number of a signal: the signal ended the command.
)

func main() {
	a := &app{stderr: os.Stderr}
	os.Exit(a.execute(context.Background(), os.Args[1:], os.Stdout, endSignals()...))
}

// execute runs the command and returns its exit code. A signal ends the waits of the command. A renewal that has begun
// is finished first, even after a second signal.
func (a *app) execute(ctx context.Context, args []string, stdout io.Writer, signals ...os.Signal) int {
	ctx, stop := a.untilSignal(ctx, signals...)
	defer stop()
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code, coded := ownCodes(command)(codeOf(err)), (*codeError)(nil)
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case !a.began: // Cobra rejected the arguments
		err = fmt.Errorf("%s; see `%s --help`", withoutKeys(firstLine(err)), command.CommandPath())
		code = ownCodes(command)(exitUsage)
	case errors.Is(err, context.Canceled) && signalCode(ctx) != 0:
		code = signalCode(ctx)
	}
	if coded == nil || coded.err != nil { // else the command has printed everything
		a.tell(oneLine(err))
	}
	return code
}

// codeError is an error with an exit code of its own. If err is nil, the command has printed its result, and no error
// text follows.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return fmt.Sprint(e.err) }
func (e *codeError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func codeOf(err error) int {
	var bad *usageError
	switch {
	case errors.Is(err, renew.ErrNoKey), errors.Is(err, renew.ErrKeyLost), errors.Is(err, renew.ErrNotRenewable),
		errors.Is(err, esper.ErrUnauthorized), errors.Is(err, esper.ErrForbidden):
		return exitPerson
	case errors.As(err, &bad), errors.Is(err, esper.ErrInvalidArgument):
		return exitUsage
	}
	return exitFailed
}

// ownCodes returns a function that turns the exit code of a failure into the one that c has for it: check and exec have
// codes of their own.
func ownCodes(c *cobra.Command) func(int) int {
	return func(code int) int {
		switch c.Name() {
		case "check":
			return stateUnknown
		case "exec":
			return execFailed
		}
		return code
	}
}
