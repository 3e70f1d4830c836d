// Package resty2 is resty, version 2, decoding into the floor's structs.
package resty2

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-resty/resty/v2"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/floor"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/peer"
)

// New returns it.
func New(base string, httpClient *http.Client) (*peer.Client, error) {
	client := resty.New()
	if httpClient != nil {
		client = resty.NewWithClient(httpClient)
	}
	client.SetDisableWarn(true) // of keys over http
	client.SetBaseURL(base).SetAuthToken(answers.Key).SetHeader("Accept", "application/json")
	return &peer.Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			return result(client.R().SetContext(ctx).SetResult(new(floor.Info)).SetError(new(floor.Error)).Get("/v1/token-info/"))
		},
		RenewToken: func(ctx context.Context) (any, error) {
			return result(client.R().SetContext(ctx).SetResult(new(floor.Renewal)).SetError(new(floor.Error)).
				SetPathParam("enterprise", answers.EnterpriseID).SetPathParam("app", answers.DeveloperAppID).
				SetQueryParam("access_token", answers.Key).
				Post("/v0/enterprise/{enterprise}/developerapp/{app}/renew-token/"))
		},
	}, nil
}

func result(resp *resty.Response, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if resp.IsError() {
		return nil, fmt.Errorf("status %d: %v", resp.StatusCode(), resp.Error())
	}
	return resp.Result(), nil
}
