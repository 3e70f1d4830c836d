package peers

import (
	"context"
	"net/http"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/esper"
)

// NewEsper returns this repository's own client.
func NewEsper(base string, httpClient *http.Client) (*Client, error) {
	var opts []esper.Option
	if httpClient != nil {
		switch network := httpClient.Transport.(type) {
		case *http.Transport:
			opts = append(opts, esper.WithTransport(network))
		default: // a transport that answers without a network
			opts = append(opts, esper.WithMiddleware(func(http.RoundTripper) http.RoundTripper { return network }))
		}
	}
	client, err := esper.New(base, esper.APIKey(answers.Key), opts...)
	if err != nil {
		return nil, err
	}
	renewal := esper.RenewRequest{
		EnterpriseID:   answers.EnterpriseID,
		DeveloperAppID: answers.DeveloperAppID,
		AccessToken:    esper.NewSecret(answers.Key),
	}
	return &Client{
		TokenInfo:  func(ctx context.Context) (any, error) { return client.TokenInfo(ctx) },
		RenewToken: func(ctx context.Context) (any, error) { return client.RenewToken(ctx, renewal) },
	}, nil
}
