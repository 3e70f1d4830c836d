package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const runHelp = `Keep the key renewed until SIGTERM or SIGINT, and finish then what has begun:
give it 120 seconds to stop (TimeoutStopSec, terminationGracePeriodSeconds).

--write-token keeps a file with nothing but the key, for programs that read
one. It is replaced as a whole, and written again within a minute if somebody
removes it.

--on-renew starts a program after each renewal and adoption, once that file is
written: without a shell, without arguments, with ESPER_ENVIRONMENT and
ESPER_KEY_STORE, without the key, for a minute at most. What it prints on
standard output is dropped. What fails is repeated, and stops no renewal. A
renewal made while esper-key was not running starts no program.

--key-file gives a key to begin with, which is stored while the store is empty.
Another one than that is tried once the stored key is lost. The file may be
gone, or empty, after the first start.

--listen serves /metrics for Prometheus, /healthz (the process works) and
/readyz (it has a key that works), on the loopback interface unless the
address names another.

When the key is lost, the command goes on, says so, and uses the next key that
"esper-key adopt" stores. Under systemd it speaks sd_notify and its watchdog.`

type runFlags struct {
	keyFile, onRenew, tokenFile, tokenMode, listen, logFormat string
}

func (a *app) run() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run", Short: "Keep the key renewed", Long: runHelp,
		Example: "  esper-key run\n  esper-key run --write-token /run/esper-key/token --listen :9464",
		RunE:    func(c *cobra.Command, _ []string) error { return a.keep(c, f) },
	}
	c.Flags().StringVar(&f.keyFile, "key-file", "", "the `file` with a key to begin with")
	c.Flags().StringVar(&f.onRenew, "on-renew", "", "the `program` to start after each new key")
	c.Flags().StringVar(&f.tokenFile, "write-token", "", "the `file` that is to hold the key alone")
	c.Flags().StringVar(&f.tokenMode, "write-token-mode", "0600", "its `mode`")
	c.Flags().StringVar(&f.listen, "listen", "", "the `address` for metrics and health,\nsuch as :9464")
	c.Flags().StringVar(&f.logFormat, "log-format", "text", "the `form` of the log: text or json\n")
	_ = c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// keeper does the work of run beside the renewal: metrics, delivery, systemd and the log.
type keeper struct {
	log      *slog.Logger
	metrics  *metrics
	delivery *delivery
	notify   *notifier
}

func (a *app) keep(c *cobra.Command, f runFlags) (err error) {
	ctx := c.Context()
	log, err := newLogger(c.ErrOrStderr(), f.logFormat)
	if err != nil {
		return err
	}
	initial, err := initialKey(f.keyFile)
	if err != nil {
		return err
	}
	k := &keeper{log: log, metrics: newMetrics(), notify: newNotifier(log)}
	if k.delivery, err = newDelivery(f, a, log, k.metrics); err != nil {
		return err
	}
	changes := newChanges()
	source, closeSource, err := a.open(ctx, initial, renew.WithLogger(log), renew.WithOnChange(changes.add))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	first := source.Status()
	k.metrics.source = source
	k.delivery.source = source
	if err := k.delivery.begin(ctx); err != nil {
		return err
	}
	stopServer, err := serve(f.listen, source, k.metrics, log)
	if err != nil {
		return err
	}
	defer stopServer()
	log.Info("esper-key keeps the key renewed", slog.String("version", versionOf().Version), slog.String("store", a.storeName),
		slog.Time("expires", source.Status().ExpiresAt))
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var works sync.WaitGroup
	works.Go(func() { k.delivery.loop(work) })
	works.Go(func() { k.watch(work, source) })
	works.Go(func() { k.count(work, changes, source, first) })
	k.notify.ready(source)
	err = source.Run(ctx)
	k.notify.stopping()
	log.Info("esper-key ends")
	stopWork()
	works.Wait()
	k.delivery.last()
	return err
}

// initialKey reads the key to begin with. If its file is gone or empty there is none: the key is in the store by then.
func initialKey(path string) (esper.Secret, error) {
	if path == "" {
		return esper.Secret{}, nil
	}
	key, err := keyIn(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmptyFile) {
		return esper.Secret{}, nil
	}
	return key, err
}

func newLogger(to io.Writer, format string) (*slog.Logger, error) {
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(to, nil)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, nil)), nil
	}
	return nil, usage("--log-format is neither text nor json")
}

// changes queues the changes that the source reports, so that the source never waits for the rest.
type changes struct {
	mu   sync.Mutex
	all  []renew.Status
	more chan struct{}
}

func newChanges() *changes { return &changes{more: make(chan struct{}, 1)} }

func (c *changes) add(s renew.Status) {
	c.mu.Lock()
	c.all = append(c.all, s)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *changes) take() (all []renew.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.all = c.all, nil
	return all
}

// count counts what happens to the key, and has it delivered.
func (k *keeper) count(ctx context.Context, c *changes, source *renew.Source, before renew.Status) {
	for ended := false; ; {
		for _, s := range c.take() {
			k.delivery.wake(k.metrics.count(before, s))
			before = s
			k.notify.status(source)
		}
		if ended {
			return
		}
		select {
		case <-ctx.Done():
			ended = true
		case <-c.more:
		}
	}
}

// watch tells systemd that the process lives, looks whether the file of --write-token is still there, and tells people,
// once an hour, if the key is not well.
func (k *keeper) watch(ctx context.Context, source *renew.Source) {
	const hour = time.Hour
	alive := time.NewTicker(k.notify.interval())
	shout := time.NewTicker(hour)
	defer alive.Stop()
	defer shout.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-alive.C:
			k.notify.alive(source)
			k.delivery.wake(false) // somebody may have removed the file
		case <-shout.C:
			if text := trouble(source.Status()); text != "" {
				k.log.Error(text)
			}
		}
	}
}

// trouble says what is wrong with a key. It is "" if nothing is.
func trouble(s renew.Status) string {
	var all []string
	if s.Lost {
		all = append(all, "the key is lost: make a new one in the Esper Console, and give it to `esper-key adopt`")
	}
	if !s.Saved && !s.Lost {
		all = append(all, "the new key is not saved, and is lost if this process ends: mend the store")
	}
	if !s.Lost && !time.Now().Before(s.ExpiresAt) {
		all = append(all, "the key has ended and is not renewed")
		if s.LastError != nil {
			all = append(all, oneLine(s.LastError))
		}
	}
	return strings.Join(all, "; ")
}
