// Esper-key keeps an Esper API key renewed, for operators and for programs in any language. The key lives in a store: a
// file, a database or a Kubernetes Secret. `esper-key --help` lists the commands; RUNBOOK.md says what to do when a key
// is lost or has leaked.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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
	a := &app{stderr: os.Stderr, signals: endSignals()}
	os.Exit(a.execute(context.Background(), os.Args[1:], os.Stdout))
}

// execute runs the command and returns its exit code.
func (a *app) execute(ctx context.Context, args []string, stdout io.Writer) int {
	ctx, a.stop = context.WithCancel(ctx)
	defer a.stop()
	defer a.closeStore()
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
	case errors.Is(err, context.Canceled) && a.ended.Load() != 0:
		code = int(a.ended.Load())
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

// The environment variables that the command reads.
const (
	environmentVariable = "ESPER_ENVIRONMENT"
	storeVariable       = "ESPER_KEY_STORE"
	keyVariable         = "ESPER_API_KEY"
	viaVariable         = "ESPER_KEY_VIA"
	urlVariable         = "ESPER_URL" // only set, for programs
)

const (
	openTime  = 30 * time.Second // to open a store, at most
	askTime   = time.Minute      // to ask Esper about a key
	renewTime = 2 * time.Minute  // to renew a key
)

// The ways to renew a key.
const viaRenewToken, viaToken = "renew-token", "personal-access-token"

// tell tells a person something that is no result.
func (a *app) tell(text string) {
	if k := a.keeper.Load(); k != nil {
		k.log.Warn(text)
		return
	}
	_, _ = fmt.Fprintln(a.stderr, "esper-key: "+text)
}

// setting reads a variable.
func setting(name string) string { return tidy(os.Getenv(name)) }

// app has what all commands share.
type app struct {
	environment, store string
	readOnly           bool
	via                string // how the key is renewed
	storeName          string // what the store calls itself, once it is open
	began              bool   // Cobra accepted the arguments, and the command runs

	warn func(text string) // is called with each warning of the store

	clientOptions []esper.Option // a test's

	signals []os.Signal            // those that end the command
	stop    context.CancelFunc     // ends its context
	ended   atomic.Int64           // the exit code after the first signal
	keeper  atomic.Pointer[keeper] // of run
	stderr  io.Writer
	db      *sql.DB // of the store, if it is in a database
}

const rootHelp = `Keep an Esper API key renewed, and hand it to programs.

An Esper API key ends after some 90 days, and Esper does not renew it.
esper-key keeps a key in a store, renews it in time, and saves each new key at
once:

  esper-key adopt    once: store the key that you made in the Esper Console
  esper-key run      for ever: keep it renewed (or "renew" from cron)
  esper-key token    whenever it is needed: print it

A renewal may end the old key at once, so all programs have to take the key
from the store. Machines that share a key have to share a store: if two stores
hold one key, a renewal in one store ends the key in the other.

Stores, for --store or ESPER_KEY_STORE:

  file:///var/lib/esper-key/key.json   ?mode=0640 lets the group read it
  postgres://user@host/database        password: PGPASSWORD, PGPASSFILE
  mysql://user@host/database           password: MYSQL_PWD; MariaDB too
  sqlite:///var/lib/esper-key/keys.db
  kubernetes://namespace/secret        as the pod's account, or by KUBECONFIG

A database on another machine is reached with TLS, or not at all. Its
certificate is checked with ?sslmode=verify-full, or with ?ssl-ca=FILE, which
has the authorities; ?sslmode=disable sends the key in plain text. ?socket=
is the socket of a database on this machine.

In a SQL store, ?table= chooses the table (else esper_keys), and ?name= the row
(else default), so that one table can hold several keys. In a Secret, ?key=
chooses the entry (else key.json). ?context= chooses the context of the
KUBECONFIG.

Exit codes: 0 success; 1 failure, try again; 2 wrong usage; 3 the key is lost,
refused or missing, or cannot be renewed, and a person has to act. check uses
the codes of monitoring plugins, and exec those of env(1).`

const rootExample = `  export ESPER_ENVIRONMENT=foo
  export ESPER_KEY_STORE=file:///var/lib/esper-key/key.json
  esper-key adopt
  esper-key run`

func (a *app) root() *cobra.Command {
	a.warn = func(text string) { a.tell("warning: " + text) }
	root := &cobra.Command{
		Use: "esper-key", Short: "Keep an Esper API key renewed, and hand it to programs", Long: rootHelp, Example: rootExample,
		Version: version(), SilenceErrors: true, SilenceUsage: true, Args: noArguments,
		PersistentPreRun: func(*cobra.Command, []string) { a.began = true },
		RunE:             func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	flags := root.PersistentFlags()
	for _, f := range []struct {
		to                             *string
		name, variable, standard, text string
	}{
		{&a.environment, "environment", environmentVariable, "", "the `tenant` (foo), or a base URL;\nthe default is ESPER_ENVIRONMENT"},
		{&a.store, "store", storeVariable, "", "the `URL` of the store; the default is\nESPER_KEY_STORE, which hides a password in it\nfrom other users"},
		{&a.via, "via", viaVariable, viaRenewToken, "the `way` to renew: renew-token, or its successor\npersonal-access-token, which is experimental;\nthe default is ESPER_KEY_VIA, or renew-token"},
	} {
		flags.StringVar(f.to, f.name, cmp.Or(setting(f.variable), f.standard), f.text)
		flags.Lookup(f.name).DefValue = "" // help does not show what the variable holds, which may be a password
	}
	_ = root.RegisterFlagCompletionFunc("via", cobra.FixedCompletions([]string{viaRenewToken, viaToken}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.adopt(), a.show(), a.token(), a.exec(), a.renew(), a.run(), a.check())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(_ *cobra.Command, args []string) error {
		if c, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return noArguments(c, rest)
		}
		return nil
	}
	return root
}

// noArguments refuses arguments, as cobra.NoArgs does. Its error does not repeat an argument as a whole, since that may
// be a key.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.Name() == "adopt":
		return errors.New("adopt takes no key as an argument, because every user of this machine can see the arguments; " +
			"pass the key on standard input or with --key-file, and if the argument was a key, make a new one")
	case !c.HasParent():
		return fmt.Errorf("%s is no command", plainWord(args[0], "the first argument"))
	}
	return fmt.Errorf("%s takes no arguments", c.Name())
}

// oneOf adds a flag that has one of a few values, of which the first is the default.
func oneOf(c *cobra.Command, to *string, name, short, usage string, values ...string) {
	*to = values[0]
	c.Flags().FuncP(name, short, fmt.Sprintf("%s (default %q)", usage, values[0]), func(value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("it has to be %s", strings.Join(values, " or "))
		}
		*to = value
		return nil
	})
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// show prints lines on standard output.
func show(c *cobra.Command, lines ...string) error {
	_, err := fmt.Fprintln(c.OutOrStdout(), clean(strings.Join(lines, "\n")))
	return err
}

// open opens the store, and a source on it, which begins with the initial key if the store is empty. If the source's Close
// fails, a new key is not saved.
func (a *app) open(c *cobra.Command, initial esper.Secret, options ...renew.Option) (*renew.Source, error) {
	if a.environment == "" {
		return nil, usage("no tenant is given: set %s to the tenant's name, or use --environment", environmentVariable)
	}
	a.catchSignals()
	store, err := a.openStore(a.store)
	if err != nil {
		return nil, err
	}
	a.storeName = fmt.Sprint(store)
	options = append([]renew.Option{renew.WithLogger(slog.New(warnings{slog.DiscardHandler, a.warn}))}, options...)
	if a.readOnly {
		options = append(options, renew.ReadOnly())
	}
	switch a.via = tidy(a.via); a.via {
	case viaRenewToken:
	case viaToken:
		options = append(options, renew.WithPersonalAccessTokens())
	default:
		return nil, usage("--via or %s is neither %s nor %s", viaVariable, viaRenewToken, viaToken)
	}
	options = append(options, renew.WithClientOptions(a.client()...), renew.WithInitialToken(initial))
	defer during(c, "reading "+a.storeName, openTime)()
	return renew.Open(c.Context(), a.environment, store, options...)
}

// closeStore closes the connections to a database.
func (a *app) closeStore() {
	if a.db != nil {
		_ = a.db.Close()
	}
}

// client returns the options of every client for Esper: its User-Agent names this command.
func (a *app) client() []esper.Option {
	return append([]esper.Option{esper.WithUserAgent("esper-key/" + version())}, a.clientOptions...)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
