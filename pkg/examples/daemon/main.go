// Daemon keeps a key renewed for as long as it runs, and calls the API with it.
//
// ESPER_ENVIRONMENT names the tenant, and ESPER_KEY_FILE the file that keeps the key. ESPER_API_KEY is the key to
// begin with. After SIGTERM, the daemon finishes a renewal that is under way: give its unit 120 seconds to stop.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

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

func run(ctx context.Context) error {
	source, err := renew.Open(ctx, os.Getenv("ESPER_ENVIRONMENT"), renew.File(os.Getenv("ESPER_KEY_FILE")),
		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY"))), // used while the file is empty
		renew.WithLogger(slog.Default()))
	if err != nil {
		return err
	}
	renewed := make(chan error, 1)
	go func() { renewed <- source.Run(ctx) }()

	client := source.Client()
	for work := time.NewTicker(time.Minute); ctx.Err() == nil; {
		if info, err := client.TokenInfo(ctx); err == nil { // the daemon's work
			fmt.Println("key", info.ID, "expires", info.ExpiresAt)
		} else if ctx.Err() == nil {
			slog.Error("the daemon's work", slog.Any("error", err))
		}
		select {
		case <-work.C:
		case <-ctx.Done():
		}
	}
	if err := <-renewed; err != nil { // Run has finished a renewal that was under way
		return err
	}
	return source.Close()
}
