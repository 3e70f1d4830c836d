// Reader makes one call with a key that another program renews, for example in a pod that mounts a Kubernetes Secret.
//
// ESPER_ENVIRONMENT names the tenant, and ESPER_KEY_FILE the file that keeps the key. Reader does not write to the file.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

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
	source, err := renew.Open(ctx, os.Getenv("ESPER_ENVIRONMENT"), renew.File(os.Getenv("ESPER_KEY_FILE")), renew.ReadOnly())
	if err != nil {
		return fmt.Errorf("opening the key of ESPER_ENVIRONMENT in ESPER_KEY_FILE: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	info, err := source.Client().TokenInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Println("key", info.ID, "of", info.User)
	return nil
}
