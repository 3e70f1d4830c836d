package esper_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// net/http takes an answer without a body, and none at all, from a RoundTripper; so must this.
func TestTransportWithoutABody(t *testing.T) {
	for name, answer := range map[string]*http.Response{"no body": {StatusCode: 200}, "no body, 500": {StatusCode: 500}, "nothing": nil} {
		stub := roundTripFunc(func(*http.Request) (*http.Response, error) {
			if answer == nil {
				return nil, nil //nolint:nilnil // the mistake that is tested
			}
			resp := *answer
			return &resp, nil
		})
		client := clientFor(t, "foo", "made-up-key", esper.WithHTTPClient(&http.Client{Transport: stub}), quickRetry(1))
		each(t, client, "made-up-key", func(t *testing.T, do func(context.Context) error) {
			if do(t.Context()) == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
}

// net/http tells the end of a body together with its last bytes; a RoundTripper may tell it later.
func TestTransportTellsTheEndLate(t *testing.T) {
	for extra, want := range map[int]error{0: nil, 1: esper.ErrResponseTooLarge} {
		body := someInfo + strings.Repeat(" ", mebibyte+extra-len(someInfo))
		late := stub(func(*http.Request) (*http.Response, error) { return respond(200, strings.NewReader(body)), nil })
		if _, err := newClient(t, "foo", late.option()).TokenInfo(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", len(body), err, want)
		}
	}
}

// A label that is wrong must not cost the key, nor must one that was not asked for.
func TestRenewToken_ContentEncoding(t *testing.T) {
	cut := gzipped(t, []byte(realRenewal))
	for name, tc := range map[string]struct {
		label string
		body  []byte
		key   bool
	}{
		"gzip":                 {"gzip", gzipped(t, []byte(realRenewal)), true},
		"gzip in upper case":   {"GZIP", gzipped(t, []byte(realRenewal)), true},
		"gzip and more":        {"gzip", append(gzipped(t, []byte(realRenewal)), "junk"...), true},
		"gzip, no end":         {"gzip", cut[:len(cut)-6], true},
		"no gzip":              {"gzip", []byte(realRenewal), true},
		"one byte":             {"gzip", []byte("{"), false},
		"nothing":              {"gzip", nil, false},
		"broken after a begin": {"gzip", []byte{0x1f, 0x8b, 0, 0}, false},
		"no deflate":           {"deflate", []byte(realRenewal), true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", tc.label)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(tc.body)
		}))
		renewed, err := clientFor(t, server.URL, oldKey).RenewToken(t.Context(), renewal(oldKey))
		var failed *esper.RenewalError
		switch {
		case tc.key && (err != nil || renewed.Token.Reveal() != newKey):
			t.Errorf("%s: %v", name, err)
		case !tc.key && (!errors.As(err, &failed) || failed.Outcome != esper.RenewedUnread):
			t.Errorf("%s: %v, want RenewedUnread", name, err)
		}
		server.Close()
	}
}

// A caller's DialTLSContext may negotiate HTTP/2, on which the HTTP/1.1 of a renewal is garbage.
func TestRenewToken_DialTLSContextWithHTTP2(t *testing.T) {
	var posts atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, realRenewal)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, protocols := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}} {
		posts.Store(0)
		config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.NextProtos = protocols
		dialer := &tls.Dialer{Config: config}
		client := clientFor(t, server.URL, oldKey, quickRetry(2), esper.WithHTTPClient(&http.Client{Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, addr)
			},
		}}))
		_, err := client.RenewToken(t.Context(), renewal(oldKey))
		var failed *esper.RenewalError
		switch {
		case len(protocols) == 1 && (err != nil || posts.Load() != 1):
			t.Errorf("HTTP/1.1: %v, %d posts", err, posts.Load())
		case len(protocols) == 2 && (!errors.As(err, &failed) || failed.Outcome != esper.NotRenewed || posts.Load() != 0 || !strings.Contains(err.Error(), "DialTLSContext")):
			t.Errorf("HTTP/2: %v, %d posts; want NotRenewed", err, posts.Load())
		}
	}
}

// net/http returns the cause that a caller gave to the context; its own error must be found too.
func TestContextWithACause(t *testing.T) {
	cause := errors.New("the caller's own reason")
	for name, begin := range map[string]string{"before the answer": "", "in the body": "{"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if begin != "" {
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}))
		each(t, clientFor(t, server.URL, oldKey), oldKey, func(t *testing.T, do func(context.Context) error) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
			defer cancel()
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err) || !errors.Is(err, cause) {
				t.Errorf("%s: timeout: %v", name, err)
			}
			ctx, stop := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { stop(cause) })
			if err := do(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
				t.Errorf("%s: cancelled: %v", name, err)
			}
		})
		server.Close()
	}
}

// A field that holds a secret by mistake of the server does not show it.
func TestSecretsStayOutOfOtherFields(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := canary
		if r.Method == http.MethodPost {
			key = canary + "-new"
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprintf(w, `{"id": 1, "token": %[1]q, "enterprise": {"token": %[1]q}, "developer_app": [%[1]q], "developerapp": [%[1]q],`+
			`"user": "user of %[1]s", "scope": ["read", %[1]q], "expires_on": {"k": %[1]q}, "expires_at": {"k": %[1]q}, "created_on": %[1]q}`, key)
	}))
	defer server.Close()
	client := clientFor(t, server.URL, canary)
	info, err := client.TokenInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := client.RenewToken(t.Context(), renewal(canary))
	if err != nil || renewed.Token.Reveal() != canary+"-new" {
		t.Fatal(err)
	}
	for _, v := range []any{info, renewed} {
		checkNoCanary(t, "fields", fmt.Sprintf("%+v", v))
	}
	if !info.Scope.Has("read") || !bytes.HasPrefix([]byte(info.User), []byte("user of ")) || info.Token.Reveal() != canary {
		t.Errorf("%+v", info)
	}
}

// How much of a key counts as the key: in JSON that was kept as it came the first eight bytes, in a
// text the whole of it, if it has eight.
func TestPartsOfSecretsInOtherFields(t *testing.T) {
	for _, tc := range []struct{ key, user, app, wantUser, wantApp string }{
		{"Made-Up8", `"ask Made-Up8 "`, `["Made-Up8"]`, "ask [secret] ", `["[secret]"]`},
		{"MadeUp7", `"ask MadeUp7"`, `["MadeUp7"]`, "ask MadeUp7", `["MadeUp7"]`},
		{"Made-Up-Key-12", `"ask Made-Up-Key-1"`, `{"k": "Made-Up-Key-1"}`, "ask Made-Up-Key-1", `{"k": "[secret]"}`},
		{"MadeUp7", `"ask Made-Up-Refresh"`, `null`, "ask [secret]", ""}, // another secret of the answer, after none
		{"Made-Up-Key-12", `"ask Made-Up-"`, `["Made-Up-"]`, "ask Made-Up-", `["[secret]"]`},
		{"Made-Up-Key-12", `"ask Made-Up"`, `["Made-Up", "+ade-Up-Key-12"]`, "ask Made-Up", `["Made-Up", "+ade-Up-Key-12"]`},
	} {
		answer := fmt.Sprintf(`{"id": 1, "user": %s, "developer_app": %s, "source_refresh_token": "Made-Up-Refresh"}`, tc.user, tc.app)
		s := stub(func(*http.Request) (*http.Response, error) { return respond(200, strings.NewReader(answer)), nil })
		info, err := clientFor(t, "foo", tc.key, s.option()).TokenInfo(t.Context())
		if err != nil || string(info.User) != tc.wantUser || info.DeveloperApp.Raw != tc.wantApp {
			t.Errorf("%s in %s: %+v, %v", tc.key, answer, info, err)
		}
	}
}

// A server may repeat any of the secrets that it got or gives, each of which may be another.
func TestNoSecretInOtherFields(t *testing.T) {
	const sent, old, fresh, refresh = "key-of-the-client", "old-key-made-up", "new-key-made-up", "refresh-made-up"
	answer := fmt.Sprintf(`{"id": 1, "user": "%[1]s %[2]s %[3]s", "scope": ["%[2]s"], "enterprise": ["%[1]s"], "token": "%[2]s", "source_refresh_token": "%[3]s"}`, sent, fresh, refresh)
	s := stub(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPost {
			return respond(201, strings.NewReader(strings.ReplaceAll(answer, refresh, old))), nil
		}
		return respond(200, strings.NewReader(answer)), nil
	})
	c := clientFor(t, "foo", sent, s.option())
	info, err := c.TokenInfo(t.Context())
	renewed, renewErr := c.RenewToken(t.Context(), renewal(old))
	if err != nil || renewErr != nil {
		t.Fatal(err, renewErr)
	}
	const user, list = "[secret] [secret] [secret]", `["[secret]"]`
	if string(info.User) != user || info.Scope[0] != "[secret]" || info.Enterprise.Raw != list {
		t.Errorf("TokenInfo: %+v", info)
	}
	if string(renewed.User) != user || renewed.Scope[0] != "[secret]" || renewed.Enterprise.Raw != list {
		t.Errorf("RenewToken: %+v", renewed)
	}
}

// An error that had to lose a key is still what callers ask for, and nothing else.
func TestErrorsWithoutTheirSecretKeepTheirKind(t *testing.T) {
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		s := stub(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s: %w", canary, cause) })
		each(t, clientFor(t, "foo", canary, s.option(), quickRetry(1)), canary, func(t *testing.T, do func(context.Context) error) {
			err := do(t.Context())
			checkError(t, "transport", err)
			for _, kind := range []error{context.Canceled, context.DeadlineExceeded} {
				if errors.Is(err, kind) != errors.Is(cause, kind) {
					t.Errorf("%v of a transport: errors.Is(%v) is %t", cause, kind, errors.Is(err, kind))
				}
			}
			if want := errors.Is(cause, context.DeadlineExceeded); os.IsTimeout(err) != want {
				t.Errorf("%v of a transport: os.IsTimeout is %t", cause, !want)
			}
		})
	}
}
