// Daemon keeps a key renewed for as long as it runs, and calls the API with it.
//
// ESPER_ENVIRONMENT names the tenant, and ESPER_KEY_FILE the file that keeps the key. ESPER_API_KEY is the key to
// begin with. After SIGTERM, the daemon finishes a renewal that is under way: give its unit 120 seconds to stop.
package main

import (
	"context"
	"errors"
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
		return fmt.Errorf("opening the key of ESPER_ENVIRONMENT in ESPER_KEY_FILE: %w", err)
	}
	renewed := make(chan error, 1)
	go func() { renewed <- source.Run(ctx) }()
	work(ctx, source.Client())
	return errors.Join(source.Close(), <-renewed) // Close waits for a renewal that has begun, and ends Run
}

// work is what the daemon is there for: here, one call a minute.
func work(ctx context.Context, client *esper.Client) {
	for tick := time.NewTicker(time.Minute); ; {
		if info, err := client.TokenInfo(ctx); err == nil {
			fmt.Println("key", info.ID, "expires", info.ExpiresAt)
		} else if ctx.Err() == nil {
			slog.Error("the daemon's work", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
