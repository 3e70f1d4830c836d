// Package resty3 is resty, version 3, decoding into the floor's structs.
package resty3

import (
	"context"
	"fmt"
	"net/http"

	"resty.dev/v3"

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
	client.SetLoggerWarnLevel(true) // of keys over http
	client.SetBaseURL(base).SetAuthToken(answers.Key).SetHeader("Accept", "application/json")
	return &peer.Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			return result(client.R().SetContext(ctx).SetResult(new(floor.Info)).SetResultError(new(floor.Error)).Get("/v1/token-info/"))
		},
		RenewToken: func(ctx context.Context) (any, error) {
			return result(client.R().SetContext(ctx).SetResult(new(floor.Renewal)).SetResultError(new(floor.Error)).
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
	if resp.IsStatusFailure() {
		return nil, fmt.Errorf("status %d: %v", resp.StatusCode(), resp.ResultError())
	}
	return resp.Result(), nil
}
