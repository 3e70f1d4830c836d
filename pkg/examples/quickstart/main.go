// Quickstart asks Esper whose an API key is and when it ends, and renews the key.
//
// With ESPER_ENVIRONMENT and ESPER_API_KEY it asks that tenant, and renews the key only with -renew. Without
// these variables it starts a fake server, and uses a key of that server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func main() {
	renew := flag.Bool("renew", false, "renew the key of a real tenant, and write the new one to the file named by -out")
	out := flag.String("out", "esper-api-key.new", "`file` for the new key of a real tenant; it must not exist")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *renew, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, renew bool, out string) error {
	switch environment, key := os.Getenv("ESPER_ENVIRONMENT"), os.Getenv("ESPER_API_KEY"); {
	case environment == "" && key == "":
		return runFake(ctx, w)
	case environment == "" || key == "":
		return errors.New("set both ESPER_ENVIRONMENT and ESPER_API_KEY to ask a tenant, or neither of them to ask a fake server")
	}
	client, err := esper.NewFromEnv()
	if err != nil {
		return err
	}
	info, err := show(ctx, w, client)
	if err != nil {
		return err
	}
	if !renew {
		fmt.Fprintln(w, "\nThe key was not renewed. -renew exchanges it for a new one, which may end the old one at once.")
		return nil
	}
	return renewInto(ctx, w, client, info, os.Getenv("ESPER_API_KEY"), out)
}

func runFake(ctx context.Context, w io.Writer) error {
	fake := espertest.New()
	defer fake.Close()
	fmt.Fprintln(w, "ESPER_ENVIRONMENT and ESPER_API_KEY are not set: this talks to a fake server on this machine.")
	client, err := esper.New(fake.URL, esper.APIKey(fake.Token()))
	if err != nil {
		return err
	}
	info, err := show(ctx, w, client)
	if err != nil {
		return err
	}
	renewed, err := renewKey(ctx, client, info, fake.Token())
	if err != nil {
		return err
	}
	printRenewed(w, renewed)
	return nil
}

// show asks the server about the client's key, and prints the answer.
func show(ctx context.Context, w io.Writer, client *esper.Client) (*esper.TokenInfo, error) {
	info, err := client.TokenInfo(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "\nThe key\n  enterprise     %s\n  developer app  %s\n  user           %s\n  scopes         %s\n  expires        %s\n",
		info.Enterprise.ID, info.DeveloperApp.ID, info.User, strings.Join(info.Scope, ", "), expiry(info.ExpiresAt.Time))
	return info, nil
}

// renewKey renews the key. A signal does not cut it off: the answer is the only copy of the new key.
func renewKey(ctx context.Context, client *esper.Client, info *esper.TokenInfo, key string) (*esper.RenewedToken, error) {
	return client.RenewToken(context.WithoutCancel(ctx), esper.RenewRequest{
		EnterpriseID:   info.Enterprise.ID,
		DeveloperAppID: info.DeveloperApp.ID,
		AccessToken:    esper.NewSecret(key),
	})
}

// renewInto renews the key, and writes the new one to the file out. It opens the file first: if that fails, the key is
// not renewed.
func renewInto(ctx context.Context, w io.Writer, client *esper.Client, info *esper.TokenInfo, key, out string) (err error) {
	fmt.Fprintf(w, "\nRenewing: the key in ESPER_API_KEY may stop working now; the new one goes to %s.\n", out)
	file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	renewed, err := renewKey(ctx, client, info, key)
	if failed := (*esper.RenewalError)(nil); errors.As(err, &failed) && failed.Outcome == esper.OutcomeUnreadable {
		_, writeErr := file.Write(failed.Body) // the answer may hold the new key
		return errors.Join(err, writeErr, file.Sync())
	}
	if err != nil {
		return errors.Join(err, os.Remove(out))
	}
	if _, err := fmt.Fprintln(file, renewed.Token.Reveal()); err != nil {
		return fmt.Errorf("the new key could not be written, and the old one may not work any more: %w", err)
	}
	printRenewed(w, renewed)
	return file.Sync()
}

func printRenewed(w io.Writer, renewed *esper.RenewedToken) {
	fmt.Fprintf(w, "\nRenewed\n  key            %s (not shown; it is in RenewedToken.Token)\n  scopes         %s\n  expires        %s\n",
		renewed.Token, strings.Join(renewed.Scope, ", "), expiry(renewed.ExpiresAt.Time))
}

// expiry returns the date on which a key ends, and how long that is from now.
func expiry(t time.Time) string {
	const day = 24 * time.Hour
	switch left := time.Until(t); {
	case t.IsZero():
		return "the server does not say"
	case left < 0:
		return t.Format(time.DateOnly) + " (it has expired)"
	case left < 2*day:
		return fmt.Sprintf("%s (in %d hours)", t.Format(time.DateOnly), int(left.Hours()))
	default:
		return fmt.Sprintf("%s (in %d days)", t.Format(time.DateOnly), int(left/day))
	}
}
