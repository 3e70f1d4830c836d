// Reads a command from each line of standard input, calls the API with the generated client, and prints a line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"program/esper"
)

type command struct {
	Operation      string `json:"operation"`
	URL            string `json:"url"`
	Key            string `json:"key"`
	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developerapp_id"`
	TokenID        string `json:"token_id"`
	ExpiryAt       int64  `json:"expiry_at"`
	Timeout        int    `json:"timeout"`
	InfoFirst      bool   `json:"info_first"`
}

type answer struct {
	Status     int    `json:"status"`
	Value      any    `json:"value,omitempty"`
	Error      any    `json:"error,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
	Failure    string `json:"failure,omitempty"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		err := json.Unmarshal(in.Bytes(), &c)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(call(c))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func call(c command) (a answer) {
	// snippet
	config := esper.NewConfiguration()
	config.Servers = esper.ServerConfigurations{{URL: c.URL}}
	config.HTTPClient = &http.Client{Timeout: time.Duration(c.Timeout) * time.Second}
	client := esper.NewAPIClient(config)
	ctx := context.WithValue(context.Background(), esper.ContextAccessToken, c.Key)

	if c.InfoFirst {
		_, _, _ = client.TokenAPI.GetTokenInfo(ctx).Execute()
	}
	var value any
	var response *http.Response
	var err error
	switch c.Operation {
	case "getTokenInfo":
		value, response, err = client.TokenAPI.GetTokenInfo(ctx).Execute()
	case "renewToken":
		value, response, err = client.TokenAPI.RenewToken(ctx, c.EnterpriseID, c.DeveloperAppID).AccessToken(c.Key).Execute()
		// end of snippet
	case "listPersonalAccessTokens":
		value, response, err = client.PersonalAccessTokenAPI.ListPersonalAccessTokens(ctx).Execute()
	case "renewPersonalAccessToken":
		value, response, err = client.PersonalAccessTokenAPI.RenewPersonalAccessToken(ctx, c.TokenID).
			PersonalAccessTokenRenewal(*esper.NewPersonalAccessTokenRenewal(c.ExpiryAt)).Execute()
	}

	if response != nil {
		a.Status, a.RetryAfter = response.StatusCode, response.Header.Get("Retry-After")
	}
	if err == nil {
		a.Value = value
		return a
	}
	a.Failure = err.Error()
	if refused, ok := err.(*esper.GenericOpenAPIError); ok && refused.Model() != nil {
		a.Error = refused.Model()
	}
	return a
}
