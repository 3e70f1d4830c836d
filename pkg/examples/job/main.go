// Job makes one call and exits. If the key is due, the call first renews the key, and waits for the new one.
//
// ESPER_ENVIRONMENT names the tenant, and ESPER_KEY_FILE the file that keeps the key. ESPER_API_KEY is the key to
// begin with.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	source, err := renew.Open(ctx, os.Getenv("ESPER_ENVIRONMENT"), renew.File(os.Getenv("ESPER_KEY_FILE")),
		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY")))) // used while the file is empty
	if err != nil {
		return fmt.Errorf("opening the key of ESPER_ENVIRONMENT in ESPER_KEY_FILE: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }() // waits for a renewal that is under way
	info, err := source.Client().TokenInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Println("key", info.ID, "of", info.User)
	return nil
}
