// Package ogenotelpeer is the client that ogen makes by default, with OpenTelemetry.
package ogenotelpeer

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogenotel"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
)

type key struct{}

func (key) ApiKey(context.Context, ogenotel.OperationName) (ogenotel.ApiKey, error) { //nolint:revive // the generator's name
	return ogenotel.ApiKey{Token: answers.Key}, nil
}

// New returns it.
func New(base string, httpClient *http.Client) (*peer.Client, error) {
	var opts []ogenotel.ClientOption
	if httpClient != nil {
		opts = append(opts, ogenotel.WithClient(httpClient))
	}
	client, err := ogenotel.NewClient(base, key{}, opts...)
	if err != nil {
		return nil, err
	}
	params := ogenotel.RenewTokenParams{
		EnterpriseID:   uuid.MustParse(answers.EnterpriseID),
		DeveloperappID: uuid.MustParse(answers.DeveloperAppID),
		AccessToken:    answers.Key,
	}
	return &peer.Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			info, err := client.GetTokenInfo(ctx)
			if _, ok := info.(*ogenotel.TokenInfoV1); err == nil && !ok {
				err = fmt.Errorf("%T", info)
			}
			return info, err
		},
		RenewToken: func(ctx context.Context) (any, error) {
			renewal, err := client.RenewToken(ctx, params)
			if _, ok := renewal.(*ogenotel.TokenRenewV0); err == nil && !ok {
				err = fmt.Errorf("%T", renewal)
			}
			return renewal, err
		},
	}, nil
}
