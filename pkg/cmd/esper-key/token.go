package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/esper-go/esper-go/pkg/esper"
)

const patience = 10 * time.Second // how long to wait for a renewal by another process while the key is valid

const tokenHelp = `Print the key in use, and a line end.

If the key is due, it is renewed first: one process renews it, and the others
wait. If the renewal fails, or another process takes longer than ten seconds,
the old key is printed with a warning, as long as it is valid. While the key is
not due, nothing is sent to Esper, unless the store says that Esper refused the
key: then Esper is asked first, and no key is printed that it refuses again.`

func (a *app) token() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Print the key, renewed first if it is due", Long: tokenHelp,
		Example: "  TOKEN=$(esper-key token) || exit\n" +
			"  esper-key token | sed 's/^/Authorization: Bearer /' |\n    curl -H @- https://foo-api.esper.cloud/api/v1/token-info/",
		RunE: func(c *cobra.Command, _ []string) error {
			key, _, err := a.current(c)
			if key.IsZero() {
				return err
			}
			if f, ok := c.OutOrStdout().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				a.tell("the key is on the screen now, and perhaps in the terminal's history")
			}
			_, printErr := fmt.Fprintln(c.OutOrStdout(), key.Reveal())
			return errors.Join(err, printErr)
		},
	}
	a.withReadOnly(c)
	return c
}

func (a *app) withReadOnly(c *cobra.Command) {
	c.Flags().BoolVar(&a.readOnly, "read-only", false, "neither write to the store nor renew: for a user or a\nmachine that may only read the store")
}

// current returns the key in use, renewed if it was due, and the base URL of its server. If it returns both a key and an
// error, the key is new and could not be saved.
func (a *app) current(c *cobra.Command) (key esper.Secret, server string, err error) {
	ctx := c.Context()
	source, err := a.open(c, esper.Secret{})
	if err != nil {
		return key, "", err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	defer during(c, "renewing the key, if it is due", renewTime)()
	// A renewal that this process begins is finished, however long it takes. For a renewal by another process, which
	// may have died, this process does not wait longer than patience.
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var renewErr error
	if s := source.Status(); s.Refused || s.Lost { // by what the store says; meanwhile all may be well
		if renewErr = source.Check(short); codeOf(renewErr) == exitPerson {
			return key, "", renewErr
		}
	}
	if s := source.Status(); s.InDoubt || !time.Now().Before(s.NextAttempt) {
		renewErr = source.RenewIfDue(short)
	}
	token, err := source.TokenContext(ctx)
	if err = cmp.Or(err, ctx.Err()); err != nil { // after a signal, exec must not start a program
		return key, "", err
	}
	if renewErr != nil {
		status, why := source.Status(), oneLine(renewErr)
		if errors.Is(renewErr, context.DeadlineExceeded) && status.InDoubt {
			why = "another process has begun to renew it, and has not said how that ended"
		}
		a.tell(fmt.Sprintf("warning: the key, which %s, was not renewed or checked: %s", ends(status.ExpiresAt), why))
	}
	return esper.NewSecret(token.AccessToken), source.Server().String(), nil
}

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
				return errors.New("no program is given, as in `esper-key exec -- ./report.py`")
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
			a.closeStore()
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

const renewHelp = `Renew the key if it is due, and wait for the new key: for cron. A 90-day key is
due 18 to 22.5 days before its end, so once a day is often enough.

--now renews the key even if it is not due: because it leaked, or before
maintenance. If several processes with one store renew at the same time, the
key is renewed once. If Esper refuses the key, the command asks once more after
a minute, and says so if the key is lost.

The command takes two minutes at most; do not kill it before that.`

func (a *app) renew() *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use: "renew", Short: "Renew the key if it is due, or now: for cron", Long: renewHelp,
		Example: "  17 4 * * * esper-key renew        # as a line of a crontab\n  esper-key renew --now",
		RunE: func(c *cobra.Command, _ []string) error {
			source, err := a.open(c, esper.Secret{})
			if err != nil {
				return err
			}
			before := source.Status()
			defer during(c, "renewing the key", renewTime)()
			renewed := source.RenewIfDue
			if now {
				renewed = source.Renew
			}
			if err := errors.Join(renewed(c.Context()), source.Close()); err != nil {
				return err
			}
			status, text := source.Status(), "The key is not due; it "
			if nameOf(status) != nameOf(before) {
				text = "The key was renewed; the new one "
			}
			return show(c, text+ends(status.ExpiresAt)+".")
		},
	}
	c.Flags().BoolVar(&now, "now", false, "renew even if the key is not due")
	return c
}
