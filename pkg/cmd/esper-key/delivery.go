package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

const (
	programTime = time.Minute      // how long the program of --on-renew may run
	lastTime    = 15 * time.Second // how long a delivery may still take when the command ends
	mercy       = 5 * time.Second  // how long the program may take to end after SIGTERM
)

// delivery hands the key in use to other programs: it writes the file of --write-token, and then runs the program of
// --on-renew.
type delivery struct {
	file    *keyfile.Store // nil if there is none
	program string
	log     *logQueue
	metrics *metrics
	source  *renew.Source
	handed  identity // of the key for which the program was run last, or with which the command began
	env     []string // of the program
}

// identity tells keys apart.
type identity struct {
	serial int
	issued time.Time
}

func identityOf(s renew.Status) identity { return identity{s.Serial, s.IssuedAt.Round(0)} }

func newDelivery(f runFlags, a *app) (*delivery, error) {
	d := &delivery{env: slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, keyVariable+"=") })}
	d.env = append(d.env, environmentVariable+"="+a.environment, storeVariable+"="+a.store)
	if info, err := os.Stat(f.tokenFile); err == nil && info.IsDir() {
		return nil, usage("--write-token names a folder; give the path of a file in it")
	}
	if f.tokenMode != "0600" && f.tokenMode != "0640" {
		return nil, usage("--write-token-mode is neither 0600 nor 0640, which lets the group read the key")
	}
	if f.tokenFile != "" {
		d.file = keyfile.New(f.tokenFile, f.tokenMode == "0640")
		if err := d.file.CheckArguments(); err != nil {
			return nil, usage("--write-token: %w", err)
		}
	}
	if f.onRenew != "" {
		var err error
		if d.program, err = exec.LookPath(f.onRenew); err != nil {
			return nil, usage("the program of --on-renew cannot be run: %w; --on-renew takes one path, without arguments", errors.Unwrap(err))
		}
	}
	return d, nil
}

// begin tests that the file can be written, and writes it. If a renewal is due, it is left at the test: to ask for the key
// would begin the renewal, which only the source's Run may do.
func (d *delivery) begin(ctx context.Context, source *renew.Source, log *logQueue, m *metrics) error {
	d.source, d.log, d.metrics = source, log, m
	status := source.Status()
	d.handed = identityOf(status)
	if d.file == nil {
		return nil
	}
	err := d.file.Inspect(ctx, false)
	if err == nil && !status.Lost && time.Now().Before(status.NextAttempt) {
		if token, _ := source.TokenContext(ctx); token != nil { // else there is nothing to deliver yet
			err = d.write(ctx, token.AccessToken)
		}
	}
	if err != nil {
		return fmt.Errorf("--write-token: %w", err)
	}
	return nil
}

// deliver makes the file hold the key in use, and runs the program once for each new key. It is called after each change
// and once a minute: so it does again what failed, and writes a file again that somebody removed.
func (d *delivery) deliver(ctx context.Context) {
	token, err := d.source.TokenContext(ctx)
	if err != nil {
		return // there is no key to deliver
	}
	key := identityOf(d.source.Status())
	if d.file != nil {
		if err = d.write(ctx, token.AccessToken); err != nil {
			err = fmt.Errorf("the file of --write-token does not hold the key in use: %w", err)
		}
	}
	if err == nil && d.program != "" && key != d.handed {
		if err = d.run(ctx); err != nil {
			err = fmt.Errorf("the program of --on-renew failed: %s: %w", d.program, err)
		}
	}
	if err == nil {
		d.handed = key
	} else {
		d.log.Error("the key in use is not delivered; while esper-key runs, it tries again within a minute", slog.Any("error", err))
	}
	d.metrics.delivered.Set(number(err == nil))
}

// write writes the key to the file, unless the file holds it. Load also knows a save that was finished but not put in place,
// by a process that was killed or because something was in the way. Whoever reads the file does not, so write looks at it.
func (d *delivery) write(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, lastTime)
	defer cancel()
	content, version, err := d.file.Load(ctx)
	if placed, readErr := os.ReadFile(d.file.String()); err == nil && (string(content) != key || readErr != nil || string(placed) != key) {
		_, err = d.file.Save(ctx, []byte(key), version)
	}
	for _, text := range d.file.Warnings() {
		d.log.Warn(text)
	}
	return err
}

// run runs the program to its end, and ends what it leaves running: at once if it has ended, else with SIGTERM, and SIGKILL
// after five seconds.
func (d *delivery) run(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(limited, d.program) //nolint:gosec // the operator names it
	cmd.Env, cmd.Stderr, cmd.WaitDelay = d.env, os.Stderr, mercy
	endAll := groupOf(cmd)
	cmd.Cancel = func() error { return endAll(false) }
	err := cmd.Run()
	_ = endAll(true) // fails if nothing is left of it
	switch {
	case err == nil || limited.Err() == nil:
		return err
	case ctx.Err() != nil:
		return errors.New("it was stopped, because esper-key ends")
	}
	return fmt.Errorf("it did not end within %s", programTime)
}
