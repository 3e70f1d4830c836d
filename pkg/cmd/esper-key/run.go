package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

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
output is dropped. What it leaves running is ended with it. If it fails, it is
started again within a minute, which delays no renewal. Renewals that were made
while esper-key was not running start no program.

--key-file names a file with the key to begin with, which is stored if the store
is empty. After that, the file may be empty or gone. If it holds another key at
a later start, that key is tried once the stored key is lost.

--listen serves /metrics for Prometheus, /healthz (the renewal comes round) and
/readyz (the key has not ended, and Esper has not refused it). It listens on the
loopback interface unless the address names another.

If the key is lost, the command logs that, goes on, and uses the next key that
"esper-key adopt" stores. Under systemd, it reports its state (sd_notify) and
serves the watchdog as long as the renewal comes round. Records of the log that
nobody reads are dropped, and delay nothing.`

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
	oneOf(c, &f.tokenMode, "write-token-mode", "", "the `mode` of that file; with 0640,\nits group can read it", "0600", "0640")
	c.Flags().Func("listen", "the `address` for metrics and health,\nsuch as :9464", f.address)
	oneOf(c, &f.logFormat, "log-format", "", "the `form` of the log: text or\njson", "text", "json")
	return c
}

// keeper does what run does beside the renewal: metrics, delivery, systemd and the log.
type keeper struct {
	log      *logQueue
	delivery *delivery
	notify   *notifier
	source   *renew.Source
	changed  chan struct{} // something happened to the key; holds one

	registry    *prometheus.Registry
	renewals    *prometheus.CounterVec
	undelivered atomic.Bool
}

func (a *app) keep(c *cobra.Command, f runFlags) (err error) {
	ctx := c.Context()
	k := &keeper{log: newLog(c.ErrOrStderr(), f.logFormat), changed: make(chan struct{}, 1)}
	defer k.log.close()
	a.warn = func(text string) { k.log.Warn(text) }
	if k.delivery, err = newDelivery(ctx, f, a); err != nil {
		return err
	}
	initial, err := keyIn(f.keyFile) // it may be empty or gone: after the first start the key is in the store
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k.makeMetrics()
	k.notify = newNotifier(k.log)
	source, err := a.open(c, initial, renew.WithLogger(k.log.Logger), renew.WithOnChange(k.tell))
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, source.Close()); err != nil { // it goes where nobody has to read it
			k.log.Error(oneLine(err))
			err = &failure{codeOf(err), nil}
		}
	}()
	k.source = source
	a.keeper.Store(k)
	status := source.Status()
	k.delivery.handed = nameOf(status)
	// If a renewal is due, to ask for the key would begin it, which only the source's Run may do.
	if !status.Lost && time.Now().Before(status.NextAttempt) {
		if err := k.delivery.deliver(ctx, source); err != nil {
			return err
		}
	}
	if err := k.serve(f.listen); err != nil {
		return err
	}
	k.log.Info("esper-key keeps the key renewed", slog.String("version", version()), slog.String("store", a.storeName),
		slog.Time("expires", status.ExpiresAt))
	lasting, stopDelivery := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopDelivery(nil)
	work, stopWork := context.WithCancel(lasting)
	var works sync.WaitGroup
	works.Go(func() { k.deliver(work, lasting) })
	works.Go(func() { k.watch(work) })
	k.notify.status(source, daemon.SdNotifyReady)
	err = source.Run(ctx)
	k.notify.send(daemon.SdNotifyStopping + "\nSTATUS=finishing what has begun")
	k.log.Info("esper-key ends")
	stopWork()
	time.AfterFunc(lastTime, func() { stopDelivery(errors.New("it was stopped, because esper-key ends")) })
	works.Wait()
	return err
}

// tell is what the source calls after each change.
func (k *keeper) tell(e renew.Event) {
	switch e.Kind {
	case renew.Renewed, renew.Adopted:
		k.renewals.WithLabelValues(string(e.Kind)).Inc()
	case renew.Failed, renew.Lost:
		k.renewals.WithLabelValues("failed").Inc()
	case renew.Recovered:
	}
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// deliver delivers after each change, once a minute or more often, and when ctx ends. The end of lasting interrupts it.
func (k *keeper) deliver(ctx, lasting context.Context) {
	often := time.NewTicker(k.notify.interval)
	defer often.Stop()
	for ended := false; ; {
		k.notify.status(k.source, "")
		err := k.delivery.deliver(lasting, k.source)
		if err != nil {
			k.log.Error("the key in use is not delivered; while esper-key runs, it tries again within a minute", slog.Any("error", err))
		}
		k.undelivered.Store(err != nil)
		if ended {
			return
		}
		select {
		case <-ctx.Done():
			ended = true
		case <-k.changed:
		case <-often.C:
		}
	}
}

// watch tells systemd again and again that the renewal comes round, while that is so.
func (k *keeper) watch(ctx context.Context) {
	alive := time.NewTicker(k.notify.interval)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-alive.C:
			if k.stuck() == "" {
				k.notify.status(k.source, daemon.SdNotifyWatchdog)
			}
		}
	}
}

// stuck returns why a restart is called for, or "". The renewal looks at the key and its store every minute, and one
// look, with a renewal in it, takes two minutes at most: a store that hangs or a server that is away does not stop it.
func (k *keeper) stuck() string {
	const longest = 5 * time.Minute
	if d := time.Since(k.source.Status().WorkedAt); d > longest {
		return fmt.Sprintf("the renewal has not come round for %s", long(d))
	}
	return ""
}

// unusable returns why programs cannot use the key, or "".
func (k *keeper) unusable() string {
	if s := k.source.Status(); s.Lost || s.Refused || hasEnded(s) {
		s.LastError = nil // it may name hosts and paths, and anybody may ask /readyz
		return trouble(s)
	}
	return ""
}

func hasEnded(s renew.Status) bool { return !time.Now().Before(s.ExpiresAt) }

// trouble returns what is wrong with the key, or "".
func trouble(s renew.Status) string {
	if s.Lost {
		return "the key is lost: make a new one in the Esper Console, and give it to `esper-key adopt`"
	}
	var all []string
	if !s.Saved {
		all = append(all, "the new key is not saved, and is lost if this process ends: mend the store")
	}
	if s.Refused {
		all = append(all, "Esper refused the key, and is asked once more")
	}
	if hasEnded(s) {
		all = append(all, "the key has ended and is not renewed")
		if s.LastError != nil {
			all = append(all, oneLine(s.LastError))
		}
	}
	return strings.Join(all, "; ")
}
