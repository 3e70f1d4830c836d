// Esper-key keeps an Esper API key renewed, for operators and for programs in any language. The key lives in a store: a
// file, a database or a Kubernetes Secret. `esper-key --help` lists the commands; RUNBOOK.md says what to do when a key
// is lost or has leaked.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

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
	a := &app{stderr: os.Stderr, signals: endSignals()}
	os.Exit(a.execute(context.Background(), os.Args[1:], os.Stdout))
}

// execute runs the command and returns its exit code.
func (a *app) execute(ctx context.Context, args []string, stdout io.Writer) int {
	ctx, a.stop = context.WithCancelCause(ctx)
	defer a.stop(nil)
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	code, own := codeOf(err), (*failure)(nil)
	switch {
	case !a.began: // Cobra rejected the arguments
		line, _, _ := strings.Cut(err.Error(), "\n")
		err = fmt.Errorf("%s; see `%s --help`", withoutKeys(line), command.CommandPath())
		code = cmp.Or(map[string]int{"check": stateUnknown, "exec": execFailed}[command.Name()], exitUsage)
	case errors.Is(err, context.Canceled) && signalCode(ctx) != 0:
		code = signalCode(ctx)
	}
	if !errors.As(err, &own) || own.err != nil { // else the command has printed everything
		a.tell(oneLine(err))
	}
	return code
}

// failure is an error with the exit code of the command. If err is nil, the command has printed its result, and no error
// text follows.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return fmt.Sprint(f.err) }
func (f *failure) Unwrap() error { return f.err }

func usage(format string, args ...any) error { return &failure{exitUsage, fmt.Errorf(format, args...)} }

func codeOf(err error) int {
	own := (*failure)(nil)
	switch {
	case errors.As(err, &own):
		return own.code
	case errors.Is(err, renew.ErrNoKey), errors.Is(err, renew.ErrKeyLost), errors.Is(err, renew.ErrNotRenewable),
		errors.Is(err, esper.ErrUnauthorized), errors.Is(err, esper.ErrForbidden):
		return exitPerson
	case errors.Is(err, esper.ErrInvalidArgument):
		return exitUsage
	}
	return exitFailed
}
