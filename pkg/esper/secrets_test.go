package esper_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

const canary = "canary-esper+key/with%oddly&czars=;x y"

// canaryForms are pieces of canary as text, in hexadecimal and as the numbers of their bytes.
var canaryForms = func() (forms []string) {
	for _, piece := range []string{"canary-e", "oddly", "czars"} {
		forms = append(forms, piece, hex.EncodeToString([]byte(piece)), fmt.Sprintf("% x", piece), strings.Trim(fmt.Sprint([]byte(piece)), "[]"))
	}
	return forms
}()

func checkNoCanary(t *testing.T, what, text string) {
	t.Helper()
	lower := strings.ToLower(text)
	for _, form := range canaryForms {
		if strings.Contains(lower, form) {
			t.Errorf("%s shows the key (%s): %s", what, form, text)
			return
		}
	}
}

// checkPrinting checks that v does not show the key, however it is printed.
func checkPrinting(t *testing.T, what string, v any) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
		checkNoCanary(t, what+" with "+verb, fmt.Sprintf(verb, v))
	}
	encoded, _ := json.Marshal(v) // not everything can be encoded
	checkNoCanary(t, what+" as JSON", string(encoded))
	if strings.Contains(string(encoded), `"Body"`) {
		t.Errorf("%s as JSON has its body: %s", what, encoded)
	}
	var log bytes.Buffer
	slog.New(bothHandlers(&log)).Info("test", "v", v, slog.Group("g", slog.Any("v", v)))
	checkNoCanary(t, what+" in a log", log.String())
}

func bothHandlers(w io.Writer) slog.Handler {
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	return slog.NewMultiHandler(slog.NewTextHandler(w, opts), slog.NewJSONHandler(w, opts))
}

// checkError checks that neither err nor an error that it wraps shows the key.
func checkError(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	checkNoCanary(t, what, err.Error())
	checkPrinting(t, fmt.Sprintf("%s, %T", what, err), err)
	if e, ok := err.(*url.Error); ok { //nolint:errorlint // each level is looked at
		checkNoCanary(t, what, e.URL)
	}
	switch e := err.(type) { //nolint:errorlint // each level is looked at
	case interface{ Unwrap() error }:
		checkError(t, what, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			checkError(t, what, inner)
		}
	}
}

// spy is a middleware that looks for the key in everything that it gets. It appends the responses to kept.
func spy(t *testing.T, kept *[]*http.Response) esper.Option {
	var mu sync.Mutex
	look := func(what string, values ...any) {
		for _, v := range values {
			checkPrinting(t, fmt.Sprintf("middleware, %s %T", what, v), v)
		}
	}
	lookAt := func(what string, req *http.Request) {
		lasting := req.WithContext(context.WithoutCancel(req.Context())) // a time limit must not end the dump
		dump, err := httputil.DumpRequestOut(lasting, true)
		look(what, string(dump), err, req, *req.URL, req.URL.String(), req.Header, req.Context())
	}
	return around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		lookAt("request", req)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			WroteHeaderField: func(name string, values []string) { look("trace of "+name, values) },
			Got1xxResponse:   func(_ int, header textproto.MIMEHeader) error { look("trace", header); return nil },
			WroteRequest:     func(info httptrace.WroteRequestInfo) { look("trace", info) },
		}))
		resp, err := next.RoundTrip(req)
		if err != nil {
			checkError(t, "middleware", err)
			return nil, err
		}
		dump, err := httputil.DumpResponse(resp, true)
		look("response", string(dump), resp, resp.Status, resp.Header, resp.Trailer, resp.Request, resp.Body, err)
		lookAt("request of the response", resp.Request) // its context holds the answer by now
		mu.Lock()
		defer mu.Unlock()
		*kept = append(*kept, resp)
		return resp, nil
	})
}

// checkCalls makes every call, and checks that no result, error, log record or response shows the key.
func checkCalls(t *testing.T, environment string, opts ...esper.Option) {
	t.Helper()
	var log bytes.Buffer
	var kept []*http.Response
	all := append([]esper.Option{spy(t, &kept), esper.WithLogger(slog.New(bothHandlers(&log))), quickRetry(2)}, opts...)
	c := clientFor(t, environment, canary, all...)
	info, err := c.TokenInfo(t.Context())
	checkError(t, "TokenInfo", err)
	checkPrinting(t, "TokenInfo", info)
	renewed, err := c.RenewToken(t.Context(), renewal(canary))
	checkError(t, "RenewToken", err)
	checkPrinting(t, "RenewToken", renewed)
	for name, call := range map[string]func() (*http.Response, error){
		"Generated().GetTokenInfo": func() (*http.Response, error) { return c.Generated().GetTokenInfo(t.Context()) },
		"Generated().RenewToken": func() (*http.Response, error) {
			return c.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, &gen.RenewTokenParams{AccessToken: canary})
		},
	} {
		resp, err := call()
		checkError(t, name, err)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			checkError(t, name+", body", err)
			_ = resp.Body.Close()
			checkPrinting(t, name+", response", resp)
		}
	}
	checkNoCanary(t, "the debug log", log.String())
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, resp := range kept {
		checkPrinting(t, "a kept response", resp)
	}
}

func TestSecretsStayOutOfEverything(t *testing.T) {
	lower := strings.NewReplacer("%2B", "%2b", "%2F", "%2f", "%3D", "%3d", "%3B", "%3b").Replace(url.QueryEscape(canary))
	echoes := map[string]string{
		"raw": canary, "query": url.QueryEscape(canary), "path": url.PathEscape(canary), "lower": lower, "start": canary[:12],
		"html": strings.ReplaceAll(canary, "&", "&amp;"), "json": strings.NewReplacer("&", `\u0026`, "+", `\u002B`, "/", `\/`).Replace(canary),
		"mixed": strings.ReplaceAll(url.PathEscape(canary), "%20", "+"), "url": "/x/?access_token=" + lower + "&y=1", "twice": canary + canary[:9],
	}
	const end = "\r\nConnection: close\r\n\r\n"
	for form, echo := range echoes {
		quoted, _ := json.Marshal(echo) // cannot fail
		for name, answer := range map[string]string{
			"message":        "HTTP/1.1 400 Bad Request" + end + `{"message":` + string(quoted) + `}`,
			"as it is":       "HTTP/1.1 401 No" + end + `{"message":"` + echo + `"}`,
			"detail":         "HTTP/1.1 403 No" + end + `{"detail":"no ` + echo + ` here"}`,
			"errors":         "HTTP/1.1 400 No" + end + `{"errors":["a",` + string(quoted) + `],"status":` + string(quoted) + `}`,
			"error objects":  "HTTP/1.1 500 No" + end + `{"errors":[{"a":` + string(quoted) + `}],"message":1}`,
			"error lists":    "HTTP/1.1 500 No" + end + `{"errors":{` + string(quoted) + `:["b"],"c":[` + string(quoted) + `]}}`,
			"one error":      "HTTP/1.1 404 No" + end + `{"errors":` + string(quoted) + `}`,
			"html":           "HTTP/1.1 502 No\r\nContent-Type: text/html" + end + "<html>" + echo,
			"headers":        "HTTP/1.1 503 No\r\nX-Request-Id: " + echo + "\r\nSet-Cookie: a=" + echo + "\r\nContent-Type: " + echo + "\r\nRetry-After: " + echo + end,
			"status text":    "HTTP/1.1 400 " + echo + end,
			"location":       "HTTP/1.1 302 Found\r\nLocation: /" + echo + "\r\nContent-Location: /" + echo + "\r\nLink: <" + echo + ">" + end,
			"bad location":   "HTTP/1.1 307 No\r\nLocation: http://[" + echo + end,
			"location, 201":  "HTTP/1.1 201 No\r\nLocation: " + echo + end + `{"token":` + string(quoted) + `}`,
			"status line":    echo + end,
			"protocol":       "HTTP/" + echo + " 200 OK" + end,
			"status code":    "HTTP/1.1 " + echo + end,
			"header line":    "HTTP/1.1 200 OK\r\n" + echo + end,
			"length":         "HTTP/1.1 200 OK\r\nContent-Length: " + echo + end,
			"encoding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + echo + end,
			"chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked" + end + echo + "\r\n",
			"trailer":        "HTTP/1.1 200 OK\r\nTrailer: X-Echo\r\nTransfer-Encoding: chunked" + end + "2\r\n{}\r\n0\r\nX-Echo: " + echo + "\r\n\r\n",
			"gzip":           "HTTP/1.1 200 OK\r\nContent-Encoding: gzip" + end + echo,
			"no JSON":        "HTTP/1.1 200 OK" + end + echo,
			"cut short":      "HTTP/1.1 201 Created\r\nContent-Length: 999" + end + `{"token":"` + echo,
			"early hints":    "HTTP/1.1 103 Early Hints\r\nLink: <" + echo + ">\r\n\r\nHTTP/1.1 500 No" + end,
			"success":        "HTTP/1.1 200 OK" + end + `{"id":1,"token":` + string(quoted) + `,"source_refresh_token":` + string(quoted) + `}`,
			"other in fault": "HTTP/1.1 200 OK" + end + `{"token":` + string(quoted) + `,"id":}`,
		} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				checkCalls(t, rawServer(t, saying(answer)))
			})
		}
	}
}

func TestSecretsStayOutOfFailures(t *testing.T) {
	silent := rawServer(t, saying(""))
	secure, _ := secureProbe(t, nil)
	proxy, err := url.Parse(newProbe(t, answer(http.StatusProxyAuthRequired, "", "no")).URL)
	if err != nil {
		t.Fatal(err)
	}
	through := esper.WithTransport(&http.Transport{Proxy: http.ProxyURL(proxy)})
	checkCalls(t, silent)
	checkCalls(t, "http://127.0.0.1:1")
	checkCalls(t, secure.URL)
	checkCalls(t, strings.Replace(silent, "http:", "https:", 1))
	checkCalls(t, "https://esper.invalid", through)
	checkCalls(t, "http://esper.invalid", through, esper.WithInsecureHTTP())
	synctest.Test(t, func(t *testing.T) {
		_, transport := memoryProbe(t, untilTheEnd)
		checkCalls(t, memory, esper.WithTransport(transport))
	})
}

func TestSecretValuesDoNotPrint(t *testing.T) {
	c := clientFor(t, "foo", canary)
	secret, source, request := esper.NewSecret(canary), esper.APIKey(canary), renewal(canary)
	info := esper.TokenInfo{Token: secret, SourceRefreshToken: secret}
	renewed := esper.RenewedToken{Token: secret}
	apiErr := &esper.APIError{Operation: "TokenInfo", StatusCode: 400, Body: []byte(canary)}
	lost := &esper.RenewalError{Outcome: esper.OutcomeUnreadable, Body: []byte(canary), Err: apiErr}
	type inside struct {
		V      any
		hidden any
	}
	for _, v := range []any{
		c, *c, c.Generated(), *c.Generated(), source, &source, esper.WithUserAgent("x"),
		[]esper.Option{esper.WithTimeout(1)},
		secret, &secret, info, &info, renewed, &renewed, request, &request, apiErr, *apiErr, lost, *lost,
		context.WithValue(t.Context(), inside{}, secret),
		struct{ s esper.Secret }{secret},
		struct{ s *esper.Secret }{&secret},
		struct{ r esper.RenewRequest }{request},
		struct{ i *esper.TokenInfo }{&info},
		struct{ i esper.RenewedToken }{renewed},
		map[esper.Secret]int{secret: 1},
		map[string]esper.Secret{"k": secret},
		[]esper.Secret{secret},
		[1]*esper.Secret{&secret},
	} {
		what := fmt.Sprintf("%T", v)
		checkPrinting(t, what, v)
		checkPrinting(t, what+" in a slice", []any{v})
		checkPrinting(t, what+" in a map", map[string]any{"k": v})
		checkPrinting(t, what+" in a struct", inside{v, nil})
		checkPrinting(t, what+" behind a pointer", &inside{&v, &v})
		if !strings.Contains(what, "Error") {
			checkPrinting(t, what+" in an unexported field", inside{nil, v}) // fmt would show an error's Body
		}
	}
	if secret.Reveal() != canary {
		t.Error("Reveal does not return the key")
	}
}

// No verb of fmt prints the context of a middleware's request, which carries the secrets and, once it has arrived, the
// answer.
func TestContextDoesNotPrint(t *testing.T) {
	p := newProbe(t, answer(201, "application/json", `{"id": 1, "enterprise": "e", "token": "`+canary+`-new"}`))
	prying := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		ctx := context.WithValue(req.Context(), t, 1)
		resp, err := next.RoundTrip(req.WithContext(ctx))
		for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %t %c %U %O %e %p") {
			for _, v := range []any{req.Context(), ctx, resp.Body} {
				checkNoCanary(t, fmt.Sprintf("%T with %s", v, verb), fmt.Sprintf(verb, v))
			}
		}
		return resp, err
	})
	each(t, clientFor(t, p.URL, canary, prying), canary, func(t *testing.T, do func(context.Context) error) {
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorsPrintTheirText(t *testing.T) {
	api := &esper.APIError{Operation: "TokenInfo", StatusCode: 400, Message: "why", Body: []byte(canary)}
	lost := &esper.RenewalError{Outcome: esper.OutcomeUnreadable, Body: []byte(canary), Err: api}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%x", "%d", "%q"} {
		for _, v := range []any{api, *api, lost, *lost} {
			if got := fmt.Sprintf(verb, v); !strings.Contains(got, "why") {
				t.Errorf("%s of %T is %q, want the error's text", verb, v, got)
			}
		}
	}
	checkPrinting(t, "joined", errors.Join(api, fmt.Errorf("wrapped: %w", lost)))
}

// talker is a connection whose error holds the key, as that of a wrapper for debugging may.
type talker struct{ net.Conn }

func (talker) Read([]byte) (int, error) { return 0, errors.New("cannot read " + canary) }

// Errors of others may hold the key. If their text is replaced, errors.Is still tells whether a context ended the call.
func TestSecretsStayOutOfErrorsOfOthers(t *testing.T) {
	talking := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return talker{conn}, err
	}
	checkCalls(t, newProbe(t, nil).URL, esper.WithTransport(&http.Transport{DialContext: talking}))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF} {
		for _, text := range []string{canary, url.QueryEscape(canary)} {
			failing := instead(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s: %w", text, cause) })
			each(t, clientFor(t, "foo", canary, failing, quickRetry(2)), canary, func(t *testing.T, do func(context.Context) error) {
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

// The key to renew may differ from the client's own key. No error shows it either.
func TestAccessTokenStaysOutOfErrors(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf(`{"message": "no %s, sent as %s"}`, r.URL.Query().Get("access_token"), r.URL.RawQuery)
		answer(http.StatusBadRequest, "", body)(w, r)
	})
	_, err := clientFor(t, p.URL, "key").RenewToken(t.Context(), renewal(canary))
	if checkError(t, "RenewToken", err); !strings.Contains(err.Error(), "[withheld: the server's text repeats the key") {
		t.Error(err)
	}
}
