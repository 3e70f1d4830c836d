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
	switch {
	case errors.As(err, &own) && own.err == nil: // the command has printed everything
	case command.Name() == "check" && showState(command, stateUnknown, oneLine(err), "") == nil:
	default:
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
	readOnly, existing bool   // the command makes no store: it has to be there
	via                string // how the key is renewed
	storeName          string // what the store calls itself, once it is open
	file               string // of a SQLite database
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

// open opens the store, and a source on it, which begins with the initial key if the store is empty. If the source's Close
// fails, a new key is not saved.
func (a *app) open(c *cobra.Command, initial esper.Secret, options ...renew.Option) (*renew.Source, error) {
	if a.environment == "" {
		return nil, usage("no tenant is given: set %s to the tenant's name, or use --environment", environmentVariable)
	}
	a.catchSignals()
	a.existing = initial.IsZero()
	store, err := a.openStore(a.store)
	if err != nil {
		return nil, err
	}
	options = append([]renew.Option{renew.WithLogger(slog.New(warnings{slog.DiscardHandler, a.warn}))}, options...)
	if a.readOnly {
		options = append(options, renew.ReadOnly())
	}
	if a.via = tidy(a.via); a.via == viaToken {
		options = append(options, renew.WithPersonalAccessTokens())
	} else if a.via != viaRenewToken {
		return nil, usage("--via or %s is neither %s nor %s", viaVariable, viaRenewToken, viaToken)
	}
	options = append(options, renew.WithClientOptions(a.client()...), renew.WithInitialToken(initial))
	defer during(c, "reading "+fmt.Sprint(store), openTime)()
	source, err := renew.Open(c.Context(), a.environment, store, options...)
	a.storeName = fmt.Sprint(store) // a SQLite database knows its file by now
	if err != nil && a.file != "" {
		err = ofFile(a.file, err)
	}
	return source, err
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
