package peers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
)

// NewOapi returns the client that oapi-codegen makes, which is package gen, used with its Parse functions.
func NewOapi(base string, httpClient *http.Client) (*Client, error) {
	opts := []gen.ClientOption{gen.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+answers.Key)
		return nil
	})}
	if httpClient != nil {
		opts = append(opts, gen.WithHTTPClient(httpClient))
	}
	client, err := gen.NewClient(base, opts...)
	if err != nil {
		return nil, err
	}
	return &Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			resp, err := client.GetTokenInfo(ctx) //nolint:bodyclose // the parser closes it
			if err != nil {
				return nil, err
			}
			info, err := gen.ParseGetTokenInfoResponse(resp)
			if err == nil && info.JSON200 == nil {
				err = fmt.Errorf("status %d: %v", resp.StatusCode, info.JSON401)
			}
			return info, err
		},
		RenewToken: func(ctx context.Context) (any, error) {
			resp, err := client.RenewToken(ctx, answers.EnterpriseID, answers.DeveloperAppID, &gen.RenewTokenParams{AccessToken: answers.Key}) //nolint:bodyclose // the parser closes it
			if err != nil {
				return nil, err
			}
			renewal, err := gen.ParseRenewTokenResponse(resp)
			if err == nil && renewal.JSON201 == nil {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			return renewal, err
		},
	}, nil
}
