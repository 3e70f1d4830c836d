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

const runHelp = `Keep the key renewed until SIGTERM or SIGINT. Then the command finishes what it
has begun: give it 120 seconds to stop (TimeoutStopSec,
terminationGracePeriodSeconds).

--write-token writes the key, and nothing else, to a file, for programs that
read it there. A new key replaces the whole file at once. If somebody removes
the file, the command writes it again within a minute.

--on-renew starts a program after each renewal and adoption, once that file is
written. The program gets ESPER_ENVIRONMENT and ESPER_KEY_STORE, but no key and
no arguments. No shell starts it. It may run for a minute, and its standard
output is dropped. If it fails, it is started again, which delays no renewal.
Renewals that were made while esper-key was not running start no program.

--key-file names a file with the key to begin with, which is stored if the store
is empty. After that, the file may be empty or gone. If it holds another key at
a later start, that key is tried once the stored key is lost.

--listen serves /metrics for Prometheus, /healthz (the process works) and
/readyz (the key is neither lost nor past its end). It listens on the loopback
interface unless the address names another.

If the key is lost, the command logs that, goes on, and uses the next key that
"esper-key adopt" stores. Under systemd, it reports its state (sd_notify) and
serves the watchdog.`

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
	c.Flags().StringVar(&f.keyFile, "key-file", "", "the `file` with the key to begin with")
	c.Flags().StringVar(&f.onRenew, "on-renew", "", "the `program` to start after each new key")
	c.Flags().StringVar(&f.tokenFile, "write-token", "", "the `file` to write the key to")
	c.Flags().StringVar(&f.tokenMode, "write-token-mode", "0600", "the `mode` of that file")
	c.Flags().StringVar(&f.listen, "listen", "", "the `address` for metrics and health,\nsuch as :9464")
	c.Flags().StringVar(&f.logFormat, "log-format", "text", "the `form` of the log: text or json\n")
	_ = c.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// keeper does what run does beside the renewal: metrics, delivery, systemd and the log.
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
	initial, err := initialKey(ctx, f.keyFile)
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
	works.Go(func() { k.count(work, changes, source) })
	k.notify.ready(source)
	err = source.Run(ctx)
	k.notify.stopping()
	log.Info("esper-key ends")
	stopWork()
	works.Wait()
	k.delivery.last()
	return err
}

// initialKey reads the key to begin with. If the file is empty or gone, it returns no key, and no error: after the
// first start the key is in the store.
func initialKey(ctx context.Context, path string) (esper.Secret, error) {
	if path == "" {
		return esper.Secret{}, nil
	}
	key, err := unlessStopped(ctx, func() (esper.Secret, error) { return keyIn(path) })
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

// changes queues the changes that the source reports, so that the source never waits for metrics, delivery or systemd.
type changes struct {
	mu   sync.Mutex
	all  []renew.EventKind
	more chan struct{}
}

func newChanges() *changes { return &changes{more: make(chan struct{}, 1)} }

func (c *changes) add(e renew.Event) {
	c.mu.Lock()
	c.all = append(c.all, e.Kind)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *changes) take() (all []renew.EventKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.all = c.all, nil
	return all
}

// count counts each change in the metrics, wakes the delivery, and tells systemd. When ctx ends, it first handles the
// changes that are still in the queue.
func (k *keeper) count(ctx context.Context, c *changes, source *renew.Source) {
	for ended := false; ; {
		for _, kind := range c.take() {
			k.delivery.wake(k.metrics.count(kind))
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

// watch regularly tells systemd that the process lives, and has the file of --write-token checked. Once an hour it logs
// what is wrong with the key, if anything is.
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

// trouble returns what is wrong with the key, or "".
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
