package esper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
)

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

func checkRefused(t *testing.T, what string, err error, advice, input string) {
	t.Helper()
	if !errors.Is(err, esper.ErrInvalidArgument) || !strings.Contains(err.Error(), advice) {
		t.Errorf("%s: %v, want ErrInvalidArgument with %q", what, err, advice)
	} else if len(input) > 3 && strings.Contains(err.Error(), strings.TrimSpace(input)) && !strings.Contains(advice, input) {
		t.Errorf("%s: %q repeats the input", what, err)
	}
}

func TestBadKeys(t *testing.T) {
	p := newProbe(t, nil)
	for _, tc := range []struct{ key, advice string }{
		{"", "is empty"},
		{"Key0Canary\n", "newline at the end of a file"},
		{"Key0Canary\r\n", "control or invisible character"},
		{"Key0\nCanary", "control or invisible character"},
		{"Key0\tCanary", "control or invisible character"},
		{"Key0Canary\x00", "control or invisible character"},
		{"Key0Canary\x7f", "control or invisible character"},
		{"Key0\r\nX-Evil: 1", "control or invisible character"},
		{"\ufeffKey0Canary", "the mark at its beginning"},
		{"Key0Canary\u200b", "invisible character"},
		{"Key0\u00a0Canary", "invisible character"},
		{"Key0\u0085Canary", "control or invisible character"},
		{"Key0Canary\xff", "is not UTF-8"},
		{"Bearer Key0Canary", "pass the key alone"},
		{"bearer Key0Canary", "pass the key alone"},
		{" Key0Canary", "begins or ends with a space"},
		{"Key0Canary ", "begins or ends with a space"},
		{" ", "begins or ends with a space"},
		{fmt.Sprint(esper.NewSecret("x")), "Reveal"},
		{"Bearer-" + fmt.Sprint(esper.NewSecret("x")), "Reveal"},
	} {
		_, err := esper.New(p.URL, esper.APIKey(tc.key))
		checkRefused(t, fmt.Sprintf("APIKey(%q)", tc.key), err, tc.advice, tc.key)
		_, err = esper.APIKey(tc.key).Token()
		checkRefused(t, fmt.Sprintf("APIKey(%q).Token()", tc.key), err, tc.advice, tc.key)

		c, err := esper.New(p.URL, oauth2.StaticTokenSource(&oauth2.Token{AccessToken: tc.key}))
		if err != nil {
			t.Fatal(err)
		}
		each(t, c, "good", func(t *testing.T, do func(context.Context) error) {
			checkRefused(t, fmt.Sprintf("source %q", tc.key), do(t.Context()), tc.advice, tc.key)
		})
		resp, err := c.Generated().GetTokenInfo(t.Context())
		if err == nil {
			_ = resp.Body.Close()
		}
		checkRefused(t, fmt.Sprintf("Generated, source %q", tc.key), err, tc.advice, tc.key)

		if tc.key == "" { // an empty AccessToken means the client's own key
			continue
		}
		_, err = clientFor(t, p.URL, "good").RenewToken(t.Context(), renewal(tc.key))
		checkRefused(t, fmt.Sprintf("AccessToken %q", tc.key), err, tc.advice, tc.key)
		if !strings.Contains(err.Error(), "RenewRequest.AccessToken") {
			t.Errorf("%q does not name the field", err)
		}
	}
	if n := len(p.arrivals()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// APIKey and NewFromEnv recognise what people paste by mistake in place of a key. A token source and a
// RenewRequest accept these texts, because the server may issue any text as a key.
func TestPastedKeys(t *testing.T) {
	p := newProbe(t, nil)
	for _, tc := range []struct{ key, advice string }{
		{"Token Key0Canary", "name of a scheme"},
		{"Authorization: Bearer Key0Canary", "a header line"},
		{"X-Api-Key: Key0Canary", "a header line"},
		{`"Key0Canary"`, "in quotes"},
		{"'Key0Canary'", "in quotes"},
		{"\u201cKey0Canary\u201d", "in quotes"},
		{"ESPER_API_KEY=Key0Canary", "an assignment"},
		{"export ESPER_API_KEY=Key0Canary", "an assignment"},
		{"$ESPER_API_KEY", "not expanded"},
		{"${ESPER_API_KEY}", "not expanded"},
		{"%ESPER_API_KEY%", "not expanded"},
		{"$(cat key)", "not expanded"},
		{"{{ esper_key }}", "not expanded"},
		{"https://foo.esper.cloud/Key0Canary", "a URL"},
		{"file:///Key0Canary", "a URL"},
		{"/run/secrets/Key0Canary", "a path"},
		{"./Key0Canary", "a path"},
		{"~/Key0Canary", "a path"},
		{`C:\Key0Canary`, "a path"},
		{`{"token": "Key0Canary"}`, "a JSON document"},
		{`K"`, "in quotes"},
		{"null", "a placeholder"},
		{"<your-key>", "a placeholder"},
		{"Authorization Key0Canary", "a header line"},
		{"x-api-key:Key0Canary", "a header line"},
		{"curl -H Authorization:Key0Canary", "a header line"},
		{"ESPER_API_KEY = Key0Canary", "an assignment"},
		{"esper_api_key=Key0Canary", "an assignment"},
		{"@/run/secrets/key", "a path"},
	} {
		_, err := esper.New(p.URL, esper.APIKey(tc.key))
		checkRefused(t, fmt.Sprintf("APIKey(%q)", tc.key), err, tc.advice, tc.key)
		t.Setenv("ESPER_ENVIRONMENT", p.URL)
		t.Setenv("ESPER_API_KEY", tc.key)
		if _, err := esper.NewFromEnv(); err == nil || !strings.Contains(err.Error(), "the key in ESPER_API_KEY "+tc.advice[:2]) && !strings.Contains(err.Error(), tc.advice) {
			t.Errorf("NewFromEnv with %q: %v", tc.key, err)
		}
		if tc.key == "Bearer Key0Canary" {
			continue
		}
		source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: tc.key})
		if c, err := esper.New(p.URL, source); err != nil {
			t.Error(err)
		} else if _, err := c.RenewToken(t.Context(), renewal(tc.key)); err != nil {
			t.Errorf("%q from a token source: %v", tc.key, err)
		}
	}
	for _, key := range []string{"/k3Jd8Yq0/abcDEF1234567890abcd", "abc+/def==", "eyJhbGciOiJub25lIn0.e30.", "id:secret", "a-b_c~d", "key", "token"} {
		if _, err := clientFor(t, p.URL, key).TokenInfo(t.Context()); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestBadIDs(t *testing.T) {
	p := newProbe(t, nil)
	c := clientFor(t, p.URL, "good")
	for _, id := range []string{
		"", " ", "570", "{" + enterpriseID + "}", "urn:uuid:" + enterpriseID, strings.ReplaceAll(enterpriseID, "-", ""),
		enterpriseID + "0", enterpriseID[:35], enterpriseID + "/", enterpriseID + "\n", " " + enterpriseID, "../" + enterpriseID,
		enterpriseID[:33] + "../", "../../../../v1/token-info/?x=abcdefg", strings.Repeat("../", 12), enterpriseID[:35] + "g", enterpriseID[:35] + "%",
		enterpriseID[:35] + "?", "f44373cb+1800-43c6-aab3-c81f8b1f435c", "f44373cb1-800-43c6-aab3-c81f8b1f435c", "Esper [" + enterpriseID + "]",
		"DeveloperApp object (" + developerAppID + ")", strings.Repeat("0", 36), strings.Repeat("é", 18),
	} {
		r := renewal("good")
		r.EnterpriseID = id
		_, err := c.RenewToken(t.Context(), r)
		checkRefused(t, fmt.Sprintf("EnterpriseID %q", id), err, "RenewRequest.EnterpriseID", "")
		r = renewal("good")
		r.DeveloperAppID = id
		_, err = c.RenewToken(t.Context(), r)
		checkRefused(t, fmt.Sprintf("DeveloperAppID %q", id), err, "RenewRequest.DeveloperAppID", "")
		if failed := (*esper.RenewalError)(nil); errors.As(err, &failed) || !strings.Contains(err.Error(), "TokenInfo tells it") {
			t.Errorf("DeveloperAppID %q: %#v", id, err)
		}
	}
	_, err := c.RenewToken(t.Context(), esper.RenewRequest{})
	checkRefused(t, "an empty RenewRequest", err, "EnterpriseID is empty", "")
	if n := len(p.arrivals()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	upper := renewal("good")
	upper.EnterpriseID = strings.ToUpper(upper.EnterpriseID)
	if _, err := c.RenewToken(t.Context(), upper); err != nil {
		t.Errorf("an id in upper case: %v", err)
	}
}

func TestBadArguments(t *testing.T) {
	p := newProbe(t, nil)
	c := clientFor(t, p.URL, "good", nil, esper.WithTransport(nil), esper.WithLogger(nil), esper.WithMiddleware())
	each(t, c, "good", func(t *testing.T, do func(context.Context) error) {
		checkRefused(t, "nil context", do(nil), "context is nil", "")
	})
	if _, err := esper.New(p.URL, nil); !errors.Is(err, esper.ErrInvalidArgument) || !strings.Contains(err.Error(), "use APIKey") {
		t.Errorf("nil source: %v", err)
	}
	nothing, err := esper.New(p.URL, sourceFunc(func() (*oauth2.Token, error) { return nil, nil })) //nolint:nilnil // that is what is tested
	if err != nil {
		t.Fatal(err)
	}
	each(t, nothing, "good", func(t *testing.T, do func(context.Context) error) {
		checkRefused(t, "source without token", do(t.Context()), "neither a token nor an error", "")
	})
	for name, tc := range map[string]struct {
		opt    esper.Option
		advice string
	}{
		"timeout 0":           {esper.WithTimeout(0), "must be positive"},
		"timeout -1":          {esper.WithTimeout(-1), "must be positive"},
		"attempts":            {esper.WithRetry(esper.Retry{MaxAttempts: -1}), "negative"},
		"min wait":            {esper.WithRetry(esper.Retry{MinWait: -1}), "negative"},
		"max wait":            {esper.WithRetry(esper.Retry{MaxWait: -1}), "negative"},
		"min over max":        {esper.WithRetry(esper.Retry{MinWait: 2, MaxWait: 1}), "more than"},
		"empty user agent":    {esper.WithUserAgent(""), "user agent"},
		"user agent, newline": {esper.WithUserAgent("a\r\nX: y"), "user agent"},
		"middleware of nil":   {esper.WithMiddleware(func(http.RoundTripper) http.RoundTripper { return nil }), "middleware returned nil"},
		"nil middleware":      {esper.WithMiddleware(func(rt http.RoundTripper) http.RoundTripper { return rt }, nil), "middleware is nil"},
	} {
		_, err := esper.New(p.URL, esper.APIKey("good"), tc.opt)
		checkRefused(t, name, err, tc.advice, "")
	}
	for name, opt := range map[string]esper.Option{
		"one attempt":   esper.WithRetry(esper.Retry{MaxAttempts: 1}),
		"only min wait": esper.WithRetry(esper.Retry{MinWait: time.Hour}),
		"only max wait": esper.WithRetry(esper.Retry{MaxWait: time.Nanosecond}),
		"equal waits":   esper.WithRetry(esper.Retry{MinWait: time.Second, MaxWait: time.Second}),
		"user agent":    esper.WithUserAgent("mine/1 (a b)"),
		"logger":        esper.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	} {
		if _, err := esper.New(p.URL, esper.APIKey("good"), opt); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(p.arrivals()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// waiter is a source that waits until the context of the call ends. Its Token method must not be called.
type waiter struct{ asked chan context.Context }

func (w waiter) Token() (*oauth2.Token, error) { panic("Token was asked instead of TokenContext") }

func (w waiter) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	w.asked <- ctx
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

var errSource = errors.New("the vault is sealed")

func TestSource(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	asked := 0
	c, err := esper.New(p.URL, sourceFunc(func() (*oauth2.Token, error) {
		asked++
		if asked%4 == 0 {
			return nil, errSource
		}
		return &oauth2.Token{AccessToken: fmt.Sprint("key-", asked)}, nil
	}), esper.WithRetry(esper.Retry{MaxAttempts: 9, MaxWait: time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	if _, err := c.TokenInfo(t.Context()); err != errSource { //nolint:errorlint // as it is, not wrapped
		t.Errorf("TokenInfo: %v, want the source's error as it is", err)
	}
	_, err = c.RenewToken(t.Context(), renewal("old"))
	failed := (*esper.RenewalError)(nil)
	if !errors.As(err, &failed) || failed.Outcome != esper.OutcomeNotRenewed || failed.Err != errSource { //nolint:errorlint // as it is
		t.Errorf("RenewToken: %#v, want NotRenewed with the source's error", err)
	}
	if resp, err := c.Generated().GetTokenInfo(t.Context()); err != nil || resp.Body.Close() != nil {
		t.Error(err)
	}
	var keys []string
	for _, r := range p.arrivals() {
		keys = append(keys, r.Header.Get("Authorization")[len("Bearer key-"):])
	}
	if got := strings.Join(keys, " "); got != "1 2 3 5 6 7 9" {
		t.Errorf("the requests used the keys %s, want 1 2 3 5 6 7 9: each attempt asks the source once", got)
	}

	cause := errors.New("enough")
	w := waiter{make(chan context.Context, 1)}
	waiting, err := esper.New(p.URL, w)
	if err != nil {
		t.Fatal(err)
	}
	n := len(p.arrivals())
	type tag struct{}
	each(t, waiting, "old", func(t *testing.T, do func(context.Context) error) {
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), tag{}, "mine"))
		go func() {
			if asked := <-w.asked; asked.Value(tag{}) != "mine" {
				t.Error("the source did not get the call's context")
			}
			cancel(cause)
		}()
		if err := do(ctx); !errors.Is(err, cause) {
			t.Errorf("%v, want the source's error", err)
		}
	})
	if len(p.arrivals()) != n {
		t.Error("a request was sent without a key")
	}
}
