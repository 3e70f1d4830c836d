package esper_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestStatusToSentinel(t *testing.T) {
	sentinels := []error{
		esper.ErrBadRequest, esper.ErrUnauthorized, esper.ErrForbidden, esper.ErrNotFound, esper.ErrRateLimited,
		esper.ErrServer, esper.ErrRedirect, esper.ErrGateway, esper.ErrInvalidArgument, esper.ErrInvalidResponse, esper.ErrResponseTooLarge,
	}
	status := 0
	p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if status == 401 || status == 403 {
			_, _ = io.WriteString(w, `{"errors": ["no"], "message": "no", "status": 1}`)
		}
	})
	c := clientFor(t, p.URL, "key", esper.WithRetry(esper.Retry{MaxAttempts: 1}))
	for code, want := range map[int]error{
		300: esper.ErrRedirect, 301: esper.ErrRedirect, 399: esper.ErrRedirect,
		400: esper.ErrBadRequest, 401: esper.ErrUnauthorized, 402: nil, 403: esper.ErrForbidden, 404: esper.ErrNotFound,
		405: nil, 408: nil, 409: nil, 418: nil, 422: nil, 429: esper.ErrRateLimited, 499: nil,
		500: esper.ErrServer, 501: esper.ErrServer, 502: esper.ErrServer, 503: esper.ErrServer, 504: esper.ErrServer, 599: esper.ErrServer,
		600: nil, 999: nil, 200: esper.ErrInvalidResponse, 204: esper.ErrInvalidResponse,
	} {
		status = code
		each(t, c, "key", func(t *testing.T, do func(context.Context) error) {
			err := do(t.Context())
			if strings.Count(err.Error(), "esper: ") != 1 {
				t.Errorf("%d: %q does not say esper: exactly once", code, err)
			}
			for _, sentinel := range sentinels {
				if errors.Is(err, sentinel) != (sentinel == want) { //nolint:errorlint // identity is the question
					t.Errorf("%d: %v: errors.Is(%v) = %v", code, err, sentinel, errors.Is(err, sentinel))
				}
			}
			var api *esper.APIError
			if errors.As(err, &api) != (code >= 300) || api != nil && (api.StatusCode != code || !strings.HasSuffix(t.Name(), "/"+api.Operation) && !strings.Contains(t.Name(), "/"+api.Operation+"#")) {
				t.Errorf("%d: APIError %+v", code, api)
			}
		})
	}
}

func TestErrorEnvelopes(t *testing.T) {
	long := strings.Repeat("é", 5000)
	for name, tc := range map[string]struct {
		body, message string
		details       []string
	}{
		"documented":          {`{"errors":["a","b"],"message":"m","status":400}`, "m", []string{"a", "b"}},
		"status as string":    {`{"message":"m","status":"400"}`, "m", nil},
		"status at odds":      {`{"message":"m","status":200}`, "m", nil},
		"status odd":          {`{"status":{"a":[1]},"message":"m"}`, "m", nil},
		"objects":             {`{"errors":[{"b":"2","a":"1"},{"c":["3",4]}]}`, "", []string{"a: 1", "b: 2", "c: 3", "c: 4"}},
		"object of lists":     {`{"errors":{"access_token":["This field is required.","x"],"z":"y"}}`, "", []string{"access_token: This field is required.", "access_token: x", "z: y"}},
		"one string":          {`{"errors":"a","message":"m"}`, "m", []string{"a"}},
		"null":                {`{"errors":null,"message":null,"detail":null,"status":null}`, "", nil},
		"scalars":             {`{"errors":[1,true,null,2.5]}`, "", []string{"1", "true", "2.5"}},
		"odd message":         {`{"message":{"a":1},"errors":["a"]}`, "", []string{"a"}},
		"detail":              {`{"detail":"d"}`, "d", nil},
		"message wins":        {`{"detail":"d","message":"m"}`, "m", nil},
		"odd message, detail": {`{"message":7,"detail":"d"}`, "d", nil},
		"html":                {"<html><body>Bad gateway</body></html>", "", nil},
		"empty":               {"", "", nil},
		"a string":            {`"a"`, "", nil},
		"a list":              {`["Enter a valid UUID."]`, "", []string{"Enter a valid UUID."}},
		"cut short":           {`{"message":"m","errors":["a`, "", nil},
		"garbage":             {"\x00\xff\xfe", "", nil},
		"lines":               {`{"message":"a\nb\r\nc\u2028d\u0000e\u001b[31m","errors":["f\ng"]}`, "a b  c d e [31m", []string{"f g"}},
		"long":                {`{"message":"` + long + `"}`, strings.Repeat("é", 512) + "…", nil},
		"full":                {`{"message":"` + long[:1024] + `"}`, long[:1024], nil},
		"deep":                {`{"errors":[[[[[["too deep"]]]]],[[["b"]]],"a"]}`, "", []string{"b", "a"}},
		"deep objects":        {`{"errors":{"a":{"a":{"a":{"a":{"a":"too deep"}}}},"b":{"b":{"b":{"c":"d"}}}}}`, "", []string{"c: d"}},
	} {
		for _, contentType := range []string{"application/json", "text/plain", "TEXT/HTML; charset=latin-1", ""} {
			p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{contentType}[:min(1, len(contentType))]
				w.Header().Set("X-Request-Id", "r-1")
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, tc.body)
			})
			each(t, clientFor(t, p.URL, "key"), "key", func(t *testing.T, do func(context.Context) error) {
				err := do(t.Context())
				var api *esper.APIError
				if !errors.As(err, &api) || !errors.Is(err, esper.ErrBadRequest) {
					t.Fatalf("%s: %v", name, err)
				}
				if api.Message != tc.message || !reflect.DeepEqual(api.Details, tc.details) {
					t.Errorf("%s: message %q, details %q, want %q, %q", name, api.Message, api.Details, tc.message, tc.details)
				}
				if string(api.Body) != tc.body || api.RequestID != "r-1" || api.RetryAfter != 7*time.Second {
					t.Errorf("%s: body %q, request %q, wait %v", name, api.Body, api.RequestID, api.RetryAfter)
				}
				text := err.Error()
				for _, part := range append([]string{"400 Bad Request", "request r-1", tc.message}, tc.details...) {
					if !strings.Contains(text, part) {
						t.Errorf("%s: %q lacks %q", name, text, part)
					}
				}
				if strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 2000 || !utf8.ValidString(text) || strings.Contains(text, "<html") {
					t.Errorf("%s: %q is no short line", name, text)
				}
			})
		}
	}
}

func TestErrorTextsAreBounded(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", strings.Repeat("r", 5000))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errors":["`+strings.Repeat(strings.Repeat("x", 2000)+`","`, 900)+`"],"message":"m"}`) // 1.8 MB
	})
	_, err := clientFor(t, p.URL, "key").TokenInfo(t.Context())
	var api *esper.APIError
	if !errors.As(err, &api) || api.StatusCode != 400 || len(api.Body) != 1<<20 || len(err.Error()) > 64<<10 {
		t.Errorf("%d bytes of text, %+.80v", len(err.Error()), err)
	}
	p = newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", strings.Repeat("r", 5000))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"errors":["`+strings.Repeat(strings.Repeat("x", 1500)+`","`, 40)+`"]}`)
	})
	_, err = clientFor(t, p.URL, "key").TokenInfo(t.Context())
	if !errors.As(err, &api) || len(api.RequestID) > 1100 || len(api.Details) != 32 || len(api.Details[0]) > 1100 || len(err.Error()) > 40<<10 {
		t.Errorf("%d details, %d bytes of text", len(api.Details), len(err.Error()))
	}
}

func TestErrorHints(t *testing.T) {
	for status, hint := range map[int]string{401: "Esper Console", 404: "or the base URL", 405: "or the base URL", 429: "wait 1m0s", 302: "check the base URL"} {
		err := &esper.APIError{Operation: "TokenInfo", StatusCode: status, RetryAfter: time.Minute}
		if !strings.Contains(err.Error(), hint) || !strings.HasPrefix(err.Error(), "esper: TokenInfo: ") {
			t.Errorf("%d: %q lacks %q", status, err, hint)
		}
	}
	for want, err := range map[string]esper.APIError{
		"402 Payment Required": {StatusCode: 402},
		"409 Conflict":         {StatusCode: 409, Message: "Conflict"},
		"530":                  {StatusCode: 530},
	} {
		if got := err.Error(); got != "esper: : "+want {
			t.Errorf("%q, want no hint after %q", got, want)
		}
	}
	for outcome, want := range map[esper.Outcome][2]string{
		esper.OutcomeNotRenewed: {"OutcomeNotRenewed", "nothing was renewed"},
		esper.OutcomeUnknown:    {"OutcomeUnknown", "do not repeat"},
		esper.OutcomeUnreadable: {"OutcomeUnreadable", "RenewalError.Body"},
		7:                       {"Outcome(7)", "do not repeat"},
	} {
		err := &esper.RenewalError{Outcome: outcome, Err: &esper.APIError{Operation: "RenewToken", StatusCode: 403}}
		if outcome.String() != want[0] || !strings.Contains(err.Error(), want[1]) || strings.Count(err.Error(), "RenewToken") != 1 {
			t.Errorf("%v: %q, want %q", outcome, err, want)
		}
	}
	zero := &esper.RenewalError{}
	if !strings.Contains(zero.Error(), "unknown") || zero.Unwrap() != nil || zero.Timeout() || (&esper.APIError{}).Error() == "" {
		t.Errorf("zero RenewalError: %q", zero)
	}
	if other := (&esper.RenewalError{Err: errors.New("other")}).Error(); !strings.HasSuffix(other, ": other") {
		t.Error(other)
	}
}

func TestTimeoutsAndCancelling(t *testing.T) {
	p := newProbe(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	slowBody := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	once := esper.WithRetry(esper.Retry{MaxAttempts: 1})
	short := 30 * time.Millisecond
	for name, url := range map[string]string{"no answer": p.URL, "slow body": slowBody.URL} {
		for limit, opt := range map[string]esper.Option{
			"WithTimeout": esper.WithTimeout(short), "context": nil,
		} {
			each(t, clientFor(t, url, "key", once, opt), "key", func(t *testing.T, do func(context.Context) error) {
				ctx := t.Context()
				if limit == "context" {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, short)
					defer cancel()
				}
				err := do(ctx)
				var timeout interface{ Timeout() bool }
				if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || !os.IsTimeout(err) {
					t.Errorf("%s, %s: %#v: DeadlineExceeded %v, os.IsTimeout %v", name, limit, err, errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err))
				}
			})
		}
		each(t, clientFor(t, url, "key"), "key", func(t *testing.T, do func(context.Context) error) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(short, cancel)
			if err := do(ctx); !errors.Is(err, context.Canceled) || os.IsTimeout(err) {
				t.Errorf("%s: %v, want context.Canceled", name, err)
			}
		})
	}
}

// talker is a connection whose error holds the key, as that of a wrapper for debugging may.
type talker struct{ net.Conn }

func (talker) Read([]byte) (int, error) { return 0, errors.New("cannot read " + canary) }

func TestSecretsStayOutOfErrorsOfOthers(t *testing.T) {
	p := newProbe(t, nil)
	transport := esper.WithTransport(&http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return talker{conn}, err
	}})
	checkCalls(t, p.URL, transport)
	keeping := func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		for range 2 {
			_, _ = next.RoundTrip(req)
		}
		return nil, errors.New("cannot take " + url.QueryEscape(canary))
	}
	each(t, clientFor(t, p.URL, canary, quickRetry(2), around(keeping)), canary, func(t *testing.T, do func(context.Context) error) {
		checkError(t, "middleware's own error", do(t.Context()))
	})
}
