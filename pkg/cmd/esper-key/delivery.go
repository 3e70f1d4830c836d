package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
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
	warn    func(text string)
	program string
	env     []string // of the program
	handed  string   // the name of the key for which the program was run last, or with which the command began
}

// nameOf returns a text that tells the key in use from others.
func nameOf(s renew.Status) string { return fmt.Sprint(s.Serial, s.IssuedAt.UnixNano()) }

// newDelivery tests that the file can be written, and that the program can be found.
func newDelivery(ctx context.Context, f runFlags, a *app) (*delivery, error) {
	d := &delivery{warn: a.warn, env: append(os.Environ(), environmentVariable+"="+a.environment, storeVariable+"="+a.store)}
	d.env = slices.DeleteFunc(d.env, func(s string) bool { return strings.HasPrefix(s, keyVariable+"=") })
	if info, err := os.Stat(f.tokenFile); err == nil && info.IsDir() {
		return nil, usage("--write-token names a folder; give the path of a file in it")
	}
	if f.tokenFile != "" {
		d.file = keyfile.New(f.tokenFile, f.tokenMode == "0640")
		if err := d.file.CheckArguments(); err != nil {
			return nil, usage("--write-token: %w", err)
		}
		if err := d.file.Inspect(ctx, false); err != nil {
			return nil, fmt.Errorf("--write-token: %w", err)
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

// deliver makes the file hold the key in use, and runs the program once for each new key. It is called after each change
// and once a minute: so it does again what failed, and writes a file again that somebody removed.
func (d *delivery) deliver(ctx context.Context, source *renew.Source) error {
	key := nameOf(source.Status()) // first: a key that comes now has its program run at the next call
	token, _ := source.TokenContext(ctx)
	if token == nil { // there is no key to deliver, which run says by itself
		return nil
	}
	if d.file != nil {
		if err := d.write(ctx, token.AccessToken); err != nil {
			return fmt.Errorf("the file of --write-token does not hold the key in use: %w", err)
		}
	}
	if d.program != "" && key != d.handed {
		if err := d.run(ctx); err != nil {
			return fmt.Errorf("the program of --on-renew failed: %s: %w", d.program, err)
		}
	}
	d.handed = key
	return nil
}

// write writes the key to the file, unless the file holds it. Load also knows a save that was finished but not put in place,
// by a process that was killed or because something was in the way. Whoever reads the file does not, so write looks at it.
func (d *delivery) write(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, lastTime)
	defer cancel()
	content, version, err := d.file.Load(ctx)
	if err == nil && string(content) == key {
		content, _ = os.ReadFile(d.file.String()) // none, if it cannot be read
	}
	if err == nil && string(content) != key {
		_, err = d.file.Save(ctx, []byte(key), version)
	}
	for _, text := range d.file.Warnings() {
		d.warn(text)
	}
	return err
}

// run runs the program to its end, and ends what it leaves running: at once if it has ended, else with SIGTERM, and SIGKILL
// after five seconds.
func (d *delivery) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, programTime, fmt.Errorf("it did not end within %s", programTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, d.program) //nolint:gosec // the operator names it
	cmd.Env, cmd.Stderr, cmd.WaitDelay = d.env, os.Stderr, mercy
	cmd.Cancel = func() error { return endGroup(cmd, syscall.SIGTERM) }
	ownGroup(cmd)
	err := cmd.Run()
	if cmd.Process != nil {
		_ = endGroup(cmd, syscall.SIGKILL) // fails if nothing is left of it
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
