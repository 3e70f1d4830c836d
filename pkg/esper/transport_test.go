package esper_test

import (
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

// A middleware may answer without a body, or by mistake return neither an answer nor an error.
func TestMiddlewareWithoutABody(t *testing.T) {
	for name, answer := range map[string]*http.Response{"no body": {StatusCode: 200}, "no body, 500": {StatusCode: 500}, "nothing": nil} {
		stub := roundTripFunc(func(*http.Request) (*http.Response, error) {
			if answer == nil {
				return nil, nil //nolint:nilnil // the mistake that is tested
			}
			resp := *answer
			return &resp, nil
		})
		client := clientFor(t, "foo", "made-up-key", instead(stub), quickRetry(1))
		each(t, client, "made-up-key", func(t *testing.T, do func(context.Context) error) {
			if do(t.Context()) == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
}

// net/http returns io.EOF together with the last bytes of a body. The body of a middleware may return it later.
func TestMiddlewareTellsTheEndLate(t *testing.T) {
	for extra, want := range map[int]error{0: nil, 1: esper.ErrResponseTooLarge} {
		body := someInfo + strings.Repeat(" ", mebibyte+extra-len(someInfo))
		late := roundTripFunc(func(*http.Request) (*http.Response, error) { return respond(200, strings.NewReader(body)), nil })
		if _, err := clientFor(t, "foo", oldKey, late.option()).TokenInfo(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, want %v", len(body), err, want)
		}
	}
}

// A Content-Encoding that is wrong, or that was not asked for, must not cost the key.
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
		case !tc.key && (!errors.As(err, &failed) || failed.Outcome != esper.OutcomeUnreadable):
			t.Errorf("%s: %v, want OutcomeUnreadable", name, err)
		}
		server.Close()
	}
}

// A caller's DialTLSContext may negotiate HTTP/2. A renewal is not sent there, because it is written in HTTP/1.1.
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
		client := clientFor(t, server.URL, oldKey, quickRetry(2), esper.WithTransport(&http.Transport{
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, addr)
			},
		}))
		_, err := client.RenewToken(t.Context(), renewal(oldKey))
		var failed *esper.RenewalError
		switch {
		case len(protocols) == 1 && (err != nil || posts.Load() != 1):
			t.Errorf("HTTP/1.1: %v, %d posts", err, posts.Load())
		case len(protocols) == 2 && (!errors.As(err, &failed) || failed.Outcome != esper.OutcomeNotRenewed || posts.Load() != 0 || !strings.Contains(err.Error(), "DialTLSContext")):
			t.Errorf("HTTP/2: %v, %d posts; want OutcomeNotRenewed", err, posts.Load())
		}
	}
}

// net/http returns the cause that the caller gave to the context. errors.Is must also find the context's own error.
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

// If an error is replaced because its text holds a key, errors.Is still tells whether a context ended the call.
func TestErrorsWithoutTheirSecretKeepTheirKind(t *testing.T) {
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		s := roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s: %w", canary, cause) })
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
