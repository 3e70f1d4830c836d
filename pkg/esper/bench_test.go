package esper_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	benchKey        = "example-key-for-benchmarks"
	benchEnterprise = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	benchApp        = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"
)

// The answers of the real server.
const (
	benchInfo = `{"id":"570","enterprise":"f44373cb-1800-43c6-aab3-c81f8b1f435c","user":"bindya",` +
		`"developer_app":"5fa87c46-bef7-4c1f-9ca8-ebf022d118b6","source_refresh_token":null,"token":"example-key-for-benchmarks",` +
		`"expires_on":"2019-11-19T15:42:16.637203Z","scope":["read","write","update","introspection","sdk","register"],` +
		`"created_on":"2019-11-18T15:42:16.637203Z","updated_on":"2019-11-18T15:42:16.637203Z"}`
	benchRenewal = `{"id":571,"user":"bindya","enterprise":"Esper [f44373cb-1800-43c6-aab3-c81f8b1f435c]",` +
		`"developerapp":"DeveloperApp object (5fa87c46-bef7-4c1f-9ca8-ebf022d118b6)","token":"example-new-key-for-benchmarks",` +
		`"expires_at":"2023-07-03T04:29:53.906020Z","scope":"read write update introspection sdk register",` +
		`"created_on":"2023-04-04T04:29:53.906020Z","updated_on":"2023-04-04T04:29:53.906020Z"}`
)

// cannedServer answers every request with the same bytes and allocates nothing a request, so that
// a benchmark counts the client alone.
func cannedServer(b *testing.B, status int, answer string) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nDate: Tue, 19 Nov 2019 15:42:16 GMT\r\nContent-Length: %d\r\n\r\n",
		status, http.StatusText(status), len(answer))
	canned := []byte(head + answer)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serveCanned(conn, canned)
		}
	}()
	return "http://" + listener.Addr().String() + "/api"
}

func serveCanned(conn net.Conn, canned []byte) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for n := 0; ; {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			if _, err := conn.Write(canned); err != nil {
				return
			}
			n = 0
		}
	}
}

// The floor: the least that one writes by hand for these two calls, with the transport tuned. It
// has no time limit, and loses the key of a renewal whose metadata it did not foresee.
type floorClient struct {
	http *http.Client
	base string
	key  string
}

type floorInfo struct {
	ID           string    `json:"id"`
	Enterprise   string    `json:"enterprise"`
	User         string    `json:"user"`
	DeveloperApp string    `json:"developer_app"`
	RefreshToken string    `json:"source_refresh_token"`
	Token        string    `json:"token"`
	ExpiresAt    time.Time `json:"expires_on"`
	Scope        []string  `json:"scope"`
	CreatedOn    time.Time `json:"created_on"`
	UpdatedOn    time.Time `json:"updated_on"`
}

type floorRenewal struct {
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

func newFloor(base string, fresh bool) *floorClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 256
	transport.DisableKeepAlives = fresh
	return &floorClient{&http.Client{Transport: transport}, base, benchKey}
}

func (c *floorClient) do(ctx context.Context, method, path string, want int, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "floor/1.0")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return json.Unmarshal(body, into)
}

func BenchmarkTokenInfo(b *testing.B) {
	base := cannedServer(b, http.StatusOK, benchInfo)
	ctx := context.Background()
	b.Run("floor", func(b *testing.B) {
		c := newFloor(base, false)
		run(b, func() error { return c.do(ctx, http.MethodGet, "/v1/token-info/", http.StatusOK, new(floorInfo)) })
	})
	b.Run("floor with limits", func(b *testing.B) { // as esper has them: of time, of size, and no redirects
		c := newFloor(base, false)
		c.http.Timeout = 30 * time.Second
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		run(b, func() error { return c.do(ctx, http.MethodGet, "/v1/token-info/", http.StatusOK, new(floorInfo)) })
	})
	b.Run("esper", func(b *testing.B) {
		c := newBenchClient(b, base)
		run(b, func() error { _, err := c.TokenInfo(ctx); return err })
	})
}

func BenchmarkRenewToken(b *testing.B) {
	base := cannedServer(b, http.StatusCreated, benchRenewal)
	ctx := context.Background()
	b.Run("floor", func(b *testing.B) {
		c := newFloor(base, true)
		path := "/v0/enterprise/" + benchEnterprise + "/developerapp/" + benchApp + "/renew-token/?access_token=" + url.QueryEscape(benchKey)
		run(b, func() error { return c.do(ctx, http.MethodPost, path, http.StatusCreated, new(floorRenewal)) })
	})
	b.Run("esper", func(b *testing.B) {
		c := newBenchClient(b, base)
		r := esper.RenewRequest{EnterpriseID: benchEnterprise, DeveloperAppID: benchApp, AccessToken: esper.NewSecret(benchKey)}
		run(b, func() error { _, err := c.RenewToken(ctx, r); return err })
	})
}

func newBenchClient(b *testing.B, base string) *esper.Client {
	b.Helper()
	c, err := esper.New(base, esper.APIKey(benchKey))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.CloseIdleConnections)
	return c
}

func run(b *testing.B, call func() error) {
	b.Helper()
	if err := call(); err != nil { // the connection, and what is built once
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
}
