package peers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogen"
)

type ogenKey struct{}

func (ogenKey) ApiKey(context.Context, ogen.OperationName) (ogen.ApiKey, error) { //nolint:revive // ogen chooses the name
	return ogen.ApiKey{Token: answers.Key}, nil
}

// NewOgen returns the client that ogen makes, without OpenTelemetry.
func NewOgen(base string, httpClient *http.Client) (*Client, error) {
	var opts []ogen.ClientOption
	if httpClient != nil {
		opts = append(opts, ogen.WithClient(httpClient))
	}
	client, err := ogen.NewClient(base, ogenKey{}, opts...)
	if err != nil {
		return nil, err
	}
	params := ogen.RenewTokenParams{
		EnterpriseID:   uuid.MustParse(answers.EnterpriseID),
		DeveloperappID: uuid.MustParse(answers.DeveloperAppID),
		AccessToken:    answers.Key,
	}
	return &Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			info, err := client.GetTokenInfo(ctx)
			if _, ok := info.(*ogen.TokenInfoV1); err == nil && !ok {
				err = fmt.Errorf("%T", info)
			}
			return info, err
		},
		RenewToken: func(ctx context.Context) (any, error) {
			renewal, err := client.RenewToken(ctx, params)
			created, ok := renewal.(*ogen.RenewTokenCreated)
			if err == nil && !ok {
				err = fmt.Errorf("%T", renewal)
			}
			return (*ogen.TokenRenewV0)(created), err
		},
	}, nil
}
