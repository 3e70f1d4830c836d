package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	programTime = time.Minute      // how long the program of --on-renew may run
	lastTime    = 15 * time.Second // how long it may run when the command ends
	repeatAfter = time.Second      // the first pause after a failure
	repeatMost  = time.Minute      // the longest pause after a failure
)

// delivery writes each new key to the file of --write-token, and then starts the program of --on-renew. If one of the
// two fails, delivery repeats it, with the key that is then in use.
type delivery struct {
	file, program string
	mode          fs.FileMode
	environment   []string
	log           *slog.Logger
	metrics       *metrics
	source        *renew.Source
	changed       chan struct{}

	owed   atomic.Bool // the program has to be started: there is a new key
	behind bool        // the last delivery failed
}

func newDelivery(f runFlags, a *app, log *slog.Logger, m *metrics) (*delivery, error) {
	d := &delivery{file: f.tokenFile, log: log, metrics: m, changed: make(chan struct{}, 1)}
	mode, err := strconv.ParseUint(f.tokenMode, 8, 32)
	if err != nil || mode&^0o777 != 0 || mode&0o400 == 0 {
		return nil, usage("--write-token-mode has to be an octal number that lets the owner read, such as 0600 or 0640")
	}
	d.mode = fs.FileMode(mode)
	if f.onRenew != "" {
		if d.program, err = exec.LookPath(f.onRenew); err != nil {
			return nil, usage("the program of --on-renew cannot be run: %w; --on-renew takes one path, without arguments", errors.Unwrap(err))
		}
	}
	d.environment = with(os.Environ(), environmentVariable+"="+a.environment, storeVariable+"="+a.store, keyVariable+"=")
	d.environment = d.environment[:len(d.environment)-1] // removes the key's variable, which with has put last
	return d, nil
}

// begin writes the file when the command starts. If a renewal is due, begin only tests whether the file can be written:
// to ask for the key would begin the renewal, which only the source's Run may do.
func (d *delivery) begin(ctx context.Context) error {
	if d.file == "" {
		return nil
	}
	write := func() error { return probe(d.file) }
	if status := d.source.Status(); !status.Lost && time.Now().Before(status.NextAttempt) {
		if token, err := d.source.TokenContext(ctx); err == nil {
			write = func() error { return writeToken(d.file, d.mode, esper.NewSecret(token.AccessToken)) }
		}
	}
	if err := write(); err != nil {
		return fmt.Errorf("--write-token: %w", err)
	}
	return nil
}

// probe tests whether writeToken can make its temporary file, and removes that file.
func probe(path string) error {
	f, err := temporary(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func temporary(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
}

// wake makes loop write the key in use to the file, unless the file holds it. If newKey is true, loop starts the
// program too.
func (d *delivery) wake(newKey bool) {
	if newKey {
		d.owed.Store(true)
	}
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// loop delivers after each wake, and again after a failure, until ctx ends.
func (d *delivery) loop(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = repeatAfter, repeatMost
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		case <-again:
		}
		again = nil
		if d.behind = !d.deliver(ctx, programTime, "esper-key will try again"); d.behind {
			again = time.After(pause.NextBackOff())
			continue
		}
		pause.Reset()
	}
}

// last delivers once more at the end of the command, when no renewal can begin any more.
func (d *delivery) last() {
	if d.behind || d.owed.Load() {
		d.deliver(context.Background(), lastTime, "esper-key ends: see to it by hand")
	}
}

// deliver writes the file unless it holds the key, and starts the program if there is a new key. It reports whether
// both succeeded. If not, it logs the failure, and next: what comes after it.
func (d *delivery) deliver(ctx context.Context, limit time.Duration, next string) bool {
	token, err := d.source.TokenContext(ctx)
	if err != nil {
		return true // there is no key to deliver; the source will report the next one
	}
	if d.file != "" && !holdsKey(d.file, token.AccessToken) {
		err := writeToken(d.file, d.mode, esper.NewSecret(token.AccessToken))
		d.metrics.delivered("file", err)
		if err != nil {
			d.log.Error("the file of --write-token cannot be written, and does not hold the key in use; "+next, slog.Any("error", err))
			return false
		}
	}
	if d.owed.Swap(false) && d.program != "" {
		err := d.start(ctx, limit)
		if ctx.Err() == nil { // else the end of the command stopped the program
			d.metrics.delivered("program", err)
		}
		if err != nil {
			d.owed.Store(true)
			d.log.Error("the program of --on-renew failed; "+next, slog.String("program", d.program), slog.Any("error", err))
			return false
		}
	}
	return true
}

// start runs the program to its end. If the program takes longer than limit, or ctx ends, it gets SIGTERM, and SIGKILL
// five seconds later. On Windows it is killed at once.
func (d *delivery) start(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, d.program) //nolint:gosec // the operator names it
	cmd.Env, cmd.Stderr = d.environment, os.Stderr
	cmd.Cancel = func() error { return terminate(cmd.Process) }
	const mercy = 5 * time.Second
	cmd.WaitDelay = mercy
	err := cmd.Run()
	switch {
	case err == nil || limited.Err() == nil:
		return err
	case ctx.Err() != nil:
		return errors.New("it was stopped, because esper-key ends")
	}
	return fmt.Errorf("it did not end within %s", limit)
}

func holdsKey(path, key string) bool {
	data, err := os.ReadFile(path)
	return err == nil && string(data) == key
}

// writeToken writes the key to a temporary file and renames that to path, so that no reader sees half a key.
func writeToken(path string, mode fs.FileMode, key esper.Secret) (err error) {
	f, err := temporary(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.WriteString(key.Reveal()); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
