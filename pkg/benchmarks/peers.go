package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// client is a client that is measured. Each call sends a request, and decodes all fields of the answer.
type client struct {
	name       string
	tokenInfo  func(ctx context.Context) (any, error)
	renewToken func(ctx context.Context) (any, error)
}

// The names of the clients.
const (
	ours    = "esper-go"
	careful = "hand-written, careful"
	bare    = "hand-written, bare"
)

// clients returns the clients of a server. Each renewal dials, since an answer can be lost on a used connection.
func clients(base string) ([]client, error) {
	c, err := esper.New(base, esper.APIKey(key))
	if err != nil {
		return nil, err
	}
	ask := esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(key)}
	limited := func(h *http.Client) *http.Client {
		h.Timeout = 30 * time.Second
		h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return h
	}
	return []client{
		{
			ours,
			func(ctx context.Context) (any, error) { return c.TokenInfo(ctx) },
			func(ctx context.Context) (any, error) { return c.RenewToken(ctx, ask) },
		},
		written(careful, base, limited(pooled(false)), limited(pooled(true))),
		written(bare, base, pooled(false), pooled(true)),
	}, nil
}

// pooled returns an HTTP client that keeps enough connections for many callers, or none.
func pooled(fresh bool) *http.Client {
	const idle = 256
	return &http.Client{Transport: &http.Transport{MaxIdleConns: idle, MaxIdleConnsPerHost: idle, DisableKeepAlives: fresh}}
}

// tokenInfo is what the hand-written clients decode.
type tokenInfo struct {
	ID                 string    `json:"id"`
	Enterprise         string    `json:"enterprise"`
	User               string    `json:"user"`
	DeveloperApp       string    `json:"developer_app"`
	SourceRefreshToken string    `json:"source_refresh_token"`
	Token              string    `json:"token"`
	ExpiresOn          time.Time `json:"expires_on"`
	Scope              []string  `json:"scope"`
	CreatedOn          time.Time `json:"created_on"`
	UpdatedOn          time.Time `json:"updated_on"`
}

type renewedToken struct {
	ID           int       `json:"id"`
	Enterprise   string    `json:"enterprise"`
	User         string    `json:"user"`
	DeveloperApp string    `json:"developerapp"`
	Token        string    `json:"token"`
	ExpiresAt    time.Time `json:"expires_at"`
	Scope        string    `json:"scope"`
	CreatedOn    time.Time `json:"created_on"`
	UpdatedOn    time.Time `json:"updated_on"`
}

// written returns a client as it is written by hand with net/http and encoding/json.
func written(name, base string, kept, fresh *http.Client) client {
	renew := base + "/v0/enterprise/" + url.PathEscape(enterpriseID) + "/developerapp/" + url.PathEscape(developerAppID) +
		"/renew-token/?access_token=" + url.QueryEscape(key)
	return client{
		name,
		func(ctx context.Context) (any, error) {
			v := new(tokenInfo)
			return v, exchange(ctx, kept, http.MethodGet, base+"/v1/token-info/", v)
		},
		func(ctx context.Context) (any, error) {
			v := new(renewedToken)
			return v, exchange(ctx, fresh, http.MethodPost, renew, v)
		},
	}
}

func exchange(ctx context.Context, h *http.Client, method, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "application/json")
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var body io.Reader = resp.Body
	if h.Timeout > 0 { // the careful one
		body = io.LimitReader(body, 1<<20)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		fault := struct {
			Errors  []string `json:"errors"`
			Message string   `json:"message"`
			Status  int      `json:"status"`
		}{}
		_ = json.Unmarshal(text, &fault)
		return fmt.Errorf("status %d: %s", resp.StatusCode, fault.Message)
	}
	return json.Unmarshal(text, into)
}
