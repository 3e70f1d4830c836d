package peers

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
)

// Client makes calls. Each sends the request, reads the answer and decodes all of its fields. An
// answer that is not 2xx is an error.
type Client struct {
	TokenInfo  func(ctx context.Context) (any, error)
	RenewToken func(ctx context.Context) (any, error)
}

// New makes a client for a base URL. If httpClient is nil, the client handles connections as its
// library does by default.
type New func(base string, httpClient *http.Client) (*Client, error)

// Tuned returns an HTTP client that keeps enough connections for many callers.
func Tuned() *http.Client {
	const idle = 256
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // net/http documents the type
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = idle, idle
	return &http.Client{Transport: transport}
}

// Fresh returns an HTTP client that dials for each request.
func Fresh() *http.Client {
	c := Tuned()
	c.Transport.(*http.Transport).DisableKeepAlives = true //nolint:errcheck,forcetypeassert // Tuned made it
	return c
}

// Canned is a transport that gives the same answer to every request, without a network.
type Canned struct {
	Status int
	Body   string
}

// RoundTrip returns the response that net/http would make of the server's bytes.
func (c Canned) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: strconv.Itoa(c.Status) + " " + http.StatusText(c.Status), StatusCode: c.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":   {"application/json"},
			"Content-Length": {strconv.Itoa(len(c.Body))},
			"Date":           {"Tue, 19 Nov 2019 15:42:16 GMT"},
		},
		ContentLength: int64(len(c.Body)),
		Body:          io.NopCloser(bytes.NewReader([]byte(c.Body))),
		Request:       req,
	}, nil
}
