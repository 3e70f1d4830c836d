package renew_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// Transport sends the key to any endpoint of the same server, also where this module has no method.
func ExampleSource_Transport() {
	devices := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "[]") })
	server := espertest.New(espertest.WithHandler("/v0/devices/", devices))
	defer server.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	source, err := renew.Open(ctx, server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // it waits for a renewal that has begun

	client := &http.Client{Transport: source.Transport(nil), Timeout: 30 * time.Second} // not oauth2.NewClient
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v0/devices/", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// A key was revoked. A person makes a new one in the Esper Console and gives it to any process that shares
// the store.
func ExampleSource_Adopt() {
	server := espertest.New()
	defer server.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	source, err := renew.Open(ctx, server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // it waits for a renewal that has begun

	server.Revoke()
	fmt.Println("refused:", errors.Is(source.Check(ctx), esper.ErrUnauthorized))
	if err := source.Adopt(ctx, esper.NewSecret(server.NewKey())); err != nil {
		fmt.Println(err)
	}
	fmt.Println(source.Check(ctx))
	// Output:
	// refused: true
	// <nil>
}

// The renew-token endpoint has gone, as Esper has announced. The other way to renew is experimental: see TOKENS.md.
func ExampleWithPersonalAccessTokens() {
	server := espertest.New(espertest.WithRetired(http.StatusGone)) // a fake server without the endpoint
	defer server.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	source, err := renew.Open(ctx, server.URL, renew.Memory(),
		renew.WithInitialToken(esper.NewSecret(server.Token())), renew.WithPersonalAccessTokens())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // it waits for a renewal that has begun
	_, unsure := source.Ways(ctx)
	fmt.Println("can be renewed so:", unsure == nil)
	fmt.Println(source.Renew(ctx), source.Status().Saved)
	// Output:
	// can be renewed so: true
	// <nil> true
}
