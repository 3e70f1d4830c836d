package esper_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// Read what the server knows of a key, and tell the kinds of error apart.
func ExampleClient_TokenInfo() {
	fake := espertest.New()
	defer fake.Close()

	client, err := esper.New(fake.URL, esper.APIKey(fake.Token())) // or esper.New("foo", …)
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := client.TokenInfo(context.Background())
	var refused *esper.APIError
	switch {
	case errors.Is(err, esper.ErrUnauthorized):
		fmt.Println("make a new key in the Esper Console")
		return
	case errors.As(err, &refused):
		fmt.Println(refused.Operation, refused.StatusCode, refused.Message)
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	fmt.Println(info.User, info.Enterprise.ID, info.Scope.Has("write"))
	fmt.Println(time.Until(info.ExpiresAt.Time) > 24*time.Hour)
	fmt.Println(info.Token) // a Secret does not print
	// Output:
	// bindya f44373cb-1800-43c6-aab3-c81f8b1f435c true
	// true
	// [secret]
}

// Renew a key by hand. The answer is the only copy of the new key: do not end the call with ctx, and store the key
// before anything else. After a failure, find out what became of the old key. Package renew does all that.
func ExampleClient_RenewToken() {
	fake := espertest.New()
	defer fake.Close()
	store := func(esper.Secret) error { return nil }
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	client, err := esper.New(fake.URL, esper.APIKey(fake.Token()))
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := client.TokenInfo(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	renewed, err := client.RenewToken(context.WithoutCancel(ctx), esper.RenewRequest{
		EnterpriseID:   info.Enterprise.ID,
		DeveloperAppID: info.DeveloperApp.ID,
	})
	var failed *esper.RenewalError
	if errors.As(err, &failed) {
		switch failed.Outcome {
		case esper.OutcomeNotRenewed:
			fmt.Println("try again later")
		case esper.OutcomeUnknown:
			_, refused := client.TokenInfo(ctx)
			fmt.Println("the old key works:", refused == nil)
		case esper.OutcomeUnreadable:
			fmt.Println("keep failed.Body, which may hold the key:", len(failed.Body), "bytes")
		}
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store(renewed.Token); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(renewed.ID, renewed.Enterprise.Raw, renewed.Token)
	// Output: 571 Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c] [secret]
}

// Trace calls with OpenTelemetry. As a middleware, otelhttp records the request before the key is added.
func ExampleWithMiddleware() {
	traced := func(next http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(next) }
	_, err := esper.New("foo", esper.APIKey("made-up-key"), esper.WithMiddleware(traced))
	fmt.Println(err)
	// Output: <nil>
}
