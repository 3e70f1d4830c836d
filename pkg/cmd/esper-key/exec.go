package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes of env(1) and docker for what is no exit code of the program.
const (
	execFailed    = 125 // esper-key itself failed
	execCannotRun = 126
	execNotFound  = 127
)

const execHelp = `Run a program with the key in its ESPER_API_KEY, and the tenant in its
ESPER_ENVIRONMENT. The key is renewed first if it is due.

The program takes the place of esper-key, so that signals and the exit code are
its own (on Windows it is a child). Codes of esper-key: 125 it failed itself,
126 the program cannot be run, 127 there is none of that name.

For short programs: when another process renews the key meanwhile, the one in
the environment may stop working. A long one should ask "esper-key token", or
read the file of "esper-key run --write-token".`

func (a *app) exec() *cobra.Command {
	c := &cobra.Command{
		Use: "exec [flags] -- PROGRAM [ARGUMENT...]", Short: "Run a program with the key in its environment", Long: execHelp,
		Example: "  esper-key exec -- ./report.py --month 11",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("there is no program to run")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path, err := exec.LookPath(args[0])
			if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
				return &codeError{execNotFound, fmt.Errorf("there is no program %q", args[0])}
			}
			if err != nil {
				return &codeError{execCannotRun, fmt.Errorf("%q cannot be run: %w", args[0], errors.Unwrap(err))}
			}
			key, err := a.current(c)
			if err != nil {
				return err
			}
			return replaceBy(path, args, with(os.Environ(), keyVariable+"="+key.Reveal(), environmentVariable+"="+a.environment))
		},
	}
	c.Flags().SetInterspersed(false)
	a.withReadOnly(c)
	return c
}

// with sets variables in the place of those of the same name.
func with(environment []string, set ...string) (out []string) {
	for _, entry := range environment {
		name, _, _ := strings.Cut(entry, "=")
		keep := true
		for _, s := range set {
			if other, _, _ := strings.Cut(s, "="); name == other {
				keep = false
			}
		}
		if keep {
			out = append(out, entry)
		}
	}
	return append(out, set...)
}
