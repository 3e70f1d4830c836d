package esper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestSecretsStayOutOfEverything(t *testing.T) {
	lower := strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d", "%3B", "%3b").Replace(url.QueryEscape(canary))
	asJSON := strings.NewReplacer("&", `\u0026`, "+", `\u002B`, "/", `\/`)
	echoes := map[string]string{
		"raw": canary, "query": url.QueryEscape(canary), "path": url.PathEscape(canary), "lower": lower, "start": canary[:12],
		"html": strings.ReplaceAll(canary, "&", "&amp;"), "json": asJSON.Replace(canary),
		"mixed": strings.ReplaceAll(url.PathEscape(canary), "%20", "+"), "url": "/x/?access_token=" + lower + "&y=1",
	}
	const end, unknown = "\r\nConnection: close\r\n\r\n", "Unknown0Oddly0Key0Thirty0Letter"
	for form, echo := range echoes {
		quoted, _ := json.Marshal(echo) // cannot fail
		for name, answer := range map[string]string{
			"message":       "HTTP/1.1 400 Bad Request" + end + `{"message":` + string(quoted) + `}`,
			"detail":        "HTTP/1.1 403 No" + end + `{"detail":"no ` + echo + ` here"}`,
			"errors":        "HTTP/1.1 400 No" + end + `{"errors":["a",` + string(quoted) + `],"status":` + string(quoted) + `}`,
			"error objects": "HTTP/1.1 500 No" + end + `{"errors":[{"a":` + string(quoted) + `}],"message":1}`,
			"html":          "HTTP/1.1 502 No\r\nContent-Type: text/html" + end + "<html>" + echo,
			"new key":       "HTTP/1.1 201 No\r\nX-Request-Id: " + unknown + end + `{"token":"` + unknown + `"`,
			"headers": strings.ReplaceAll("HTTP/1.1 503 No\r\nX-Request-Id: ?\r\nSet-Cookie: a=?\r\nContent-Type: ?\r\n"+
				"Retry-After: ?", "?", echo) + end,
			"status text":   "HTTP/1.1 400 " + echo + end,
			"location":      "HTTP/1.1 302 Found\r\nLocation: /" + echo + "\r\nLink: <" + echo + ">" + end,
			"location, 201": "HTTP/1.1 201 No\r\nLocation: " + echo + end + `{"token":` + string(quoted) + `}`,
			"status line":   echo + end,
			"status code":   "HTTP/1.1 " + echo + end,
			"header line":   "HTTP/1.1 200 OK\r\n" + echo + end,
			"chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + end + echo + "\r\n",
			"trailer": "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked" + end + "2\r\n{}\r\n0\r\nX: " + echo +
				"\r\n\r\n",
			"gzip":        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip" + end + echo,
			"cut short":   "HTTP/1.1 201 Created\r\nContent-Length: 999" + end + `{"token":"` + echo,
			"early hints": "HTTP/1.1 103 Early Hints\r\nLink: <" + echo + ">\r\n\r\nHTTP/1.1 500 No" + end,
			"success":     "HTTP/1.1 200 OK" + end + `{"id":1,"enterprise":"e","source_refresh_token":` + string(quoted) + `}`,
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				checkCalls(t, memory, piped(saying(answer)))
			})
		}
	}
}

func TestSecretsStayOutOfFailures(t *testing.T) {
	silent := newProbe(t, abort).URL
	secure, _ := secureProbe(t, nil)
	proxy := proxyURL(t, newProbe(t, answer(http.StatusProxyAuthRequired, "", "no")).URL)
	through := esper.WithTransport(&http.Transport{Proxy: proxy})
	// A Proxy function that logs what it is given logs no key.
	choose := func(req *http.Request) (*url.URL, error) {
		checkPrinting(t, "the proxy's request", req)
		checkPrinting(t, "its URL", req.URL.String())
		checkPrinting(t, "its context", req.Context())
		if len(req.Header) != 0 || req.URL.RawQuery != "" || req.URL.Host == "" || req.Host == "" {
			t.Errorf("%v %v %q", req.URL, req.Header, req.Host)
		}
		return nil, nil //nolint:nilnil // no proxy
	}
	checkCalls(t, silent, esper.WithTransport(&http.Transport{Proxy: choose}))
	checkCalls(t, silent)
	checkCalls(t, "http://127.0.0.1:1")
	checkCalls(t, secure.URL)
	checkCalls(t, strings.Replace(silent, "http:", "https:", 1))
	checkCalls(t, "https://esper.invalid", through)
	checkCalls(t, "http://esper.invalid", through, esper.WithInsecureHTTP())
	synctest.Test(t, func(t *testing.T) {
		checkCalls(t, memory, piped(hanging("")))
	})
}

func TestSecretValuesDoNotPrint(t *testing.T) {
	c := clientFor(t, "foo", canary)
	secret, source, request := esper.NewSecret(canary), esper.APIKey(canary), renewal(canary)
	info := esper.TokenInfo{Token: secret, SourceRefreshToken: secret}
	renewed := esper.RenewedToken{Token: secret}
	apiErr := &esper.APIError{Operation: "TokenInfo", StatusCode: 400, Message: "why", Body: []byte(canary)}
	lost := &esper.RenewalError{Outcome: esper.OutcomeUnreadable, Body: []byte(canary), Err: apiErr}
	type inside struct {
		V      any
		hidden any
	}
	for _, v := range []any{
		errors.Join(apiErr, fmt.Errorf("wrapped: %w", lost)), c, *c, c.Generated(), *c.Generated(), source, &source,
		esper.WithUserAgent("x"),
		[]esper.Option{esper.WithTimeout(1)},
		secret, &secret, info, &info, renewed, &renewed, request, &request, apiErr, *apiErr, lost, *lost,
		struct{ r esper.RenewRequest }{request},
		struct{ i *esper.TokenInfo }{&info},
	} {
		what := fmt.Sprintf("%T", v)
		checkPrinting(t, what, v)
		if got := fmt.Sprintf("%s%v%+v%#v%x%d%q", v, v, v, v, v, v, v); strings.HasSuffix(what, "Error") &&
			strings.HasPrefix(strings.TrimPrefix(what, "*"), "esper.") && strings.Count(got, "why") != 7 {
			t.Errorf("%s is %q, want the error's text", what, got)
		}
		checkPrinting(t, what+" in a map and a struct", map[string]any{"k": []any{inside{v, nil}, &inside{&v, &v}}})
		if !strings.Contains(what, "Error") {
			checkPrinting(t, what+" in an unexported field", inside{nil, v}) // fmt would show an error's Body
		}
	}
}

// talker is a connection whose error holds the key, as that of a wrapper for debugging may.
type talker struct{ net.Conn }

func (talker) Read([]byte) (int, error) { return 0, errors.New("cannot read " + canary) }

// Errors of others may hold the key. If their text is replaced, errors.Is still tells whether a context ended the
// call.
func TestSecretsStayOutOfErrorsOfOthers(t *testing.T) {
	talking := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return talker{conn}, err
	}
	checkCalls(t, newProbe(t, nil).URL, esper.WithTransport(&http.Transport{DialContext: talking}))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		for _, text := range []string{canary, url.QueryEscape(canary)} {
			failing := instead(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s: %w", text, cause) })
			c := clientFor(t, "foo", canary, failing, quickRetry(2))
			each(t, c, canary, func(t *testing.T, do func(context.Context) error) {
				err := do(t.Context())
				checkError(t, "middleware", err)
				for _, kind := range []error{context.Canceled, context.DeadlineExceeded} {
					if errors.Is(err, kind) != errors.Is(cause, kind) {
						t.Errorf("%v of a middleware: errors.Is(%v) is %t", cause, kind, errors.Is(err, kind))
					}
				}
			})
		}
	}
}
