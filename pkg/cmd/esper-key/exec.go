package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

// The exit codes, as of env(1) and docker, if the program does not run.
const (
	execFailed    = 125 // esper-key itself failed
	execCannotRun = 126 // the program cannot be run
	execNotFound  = 127 // there is no such program
)

const execHelp = `Run a program with the key in the variable ESPER_API_KEY, the tenant in
ESPER_ENVIRONMENT, and the base URL of its API, such as
https://foo-api.esper.cloud/api, in ESPER_URL. The key is renewed first if it is
due.

The program replaces esper-key in its process, so it gets the signals, and the
exit code is the program's. On Windows, the program is a child process. Exit
codes of esper-key itself: 125 it failed, 126 the program cannot be run, 127
there is no such program.

Use exec for short programs: if another process renews the key meanwhile, the
key in the environment may stop working. A program that runs for long should
call "esper-key token" each time it needs the key, or read the file of
"esper-key run --write-token".`

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
				return &failure{execNotFound, fmt.Errorf("there is no program %q", args[0])}
			}
			if err != nil {
				return cannotRun(args[0], errors.Unwrap(err))
			}
			key, server, err := a.current(c)
			for name, value := range map[string]string{keyVariable: key.Reveal(), environmentVariable: a.environment, urlVariable: server} {
				err = errors.Join(err, os.Setenv(name, value))
			}
			if err != nil {
				return &failure{execFailed, err}
			}
			return replaceBy(path, args)
		},
	}
	c.Flags().SetInterspersed(false)
	a.withReadOnly(c)
	return c
}

func cannotRun(program string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{execCannotRun, fmt.Errorf("%q cannot be run: %w", program, err)}
}
