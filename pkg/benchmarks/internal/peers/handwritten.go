package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
)

// Info is the answer of TokenInfo.
type Info struct {
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

// Renewal is the answer of RenewToken.
type Renewal struct {
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

// Error is an answer that is not 2xx.
type Error struct {
	StatusCode int      `json:"-"`
	Errors     []string `json:"errors"`
	Message    string   `json:"message"`
	Status     int      `json:"status"`
}

func (e *Error) Error() string { return fmt.Sprintf("status %d: %s", e.StatusCode, e.Message) }

const maxBody = 1 << 20

type client struct {
	http *http.Client
	base string
}

// NewBare returns the shortest client for the two calls that can be written by hand, with net/http and encoding/json.
func NewBare(base string, httpClient *http.Client) (*Client, error) {
	if httpClient == nil {
		httpClient = Tuned()
	}
	c := client{httpClient, base}
	renew := "/v0/enterprise/" + url.PathEscape(answers.EnterpriseID) + "/developerapp/" + url.PathEscape(answers.DeveloperAppID) +
		"/renew-token/?access_token=" + url.QueryEscape(answers.Key)
	return &Client{
		TokenInfo: func(ctx context.Context) (any, error) {
			info := new(Info)
			return info, c.do(ctx, http.MethodGet, "/v1/token-info/", info)
		},
		RenewToken: func(ctx context.Context) (any, error) {
			renewal := new(Renewal)
			return renewal, c.do(ctx, http.MethodPost, renew, renewal)
		},
	}, nil
}

// NewCareful returns a client as a careful engineer writes it by hand: the client of NewBare with a time limit of 30 s,
// a size limit of 1 MiB and no redirects. This repository's client has these too.
func NewCareful(base string, httpClient *http.Client) (*Client, error) {
	if httpClient == nil {
		httpClient = Tuned()
	}
	const limit = 30 * time.Second
	limited := *httpClient
	limited.Timeout = limit
	limited.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return NewBare(base, &limited)
}

func (c client) do(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+answers.Key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "bare/1.0")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reader := io.Reader(resp.Body)
	if c.http.Timeout > 0 { // made by NewCareful
		reader = io.LimitReader(reader, maxBody)
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		failure := &Error{StatusCode: resp.StatusCode}
		_ = json.Unmarshal(body, failure) // the page of a proxy is not JSON; the status is enough
		return failure
	}
	return json.Unmarshal(body, into)
}
