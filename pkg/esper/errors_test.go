package esper_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestStatusToSentinel(t *testing.T) {
	sentinels := []error{
		esper.ErrBadRequest, esper.ErrUnauthorized, esper.ErrForbidden, esper.ErrNotFound, esper.ErrRateLimited, esper.ErrServer,
		esper.ErrRedirect, esper.ErrGateway, esper.ErrInvalidArgument, esper.ErrInvalidResponse, esper.ErrResponseTooLarge,
	}
	for want, statuses := range map[error][]int{
		esper.ErrRedirect: {300, 301, 399}, esper.ErrBadRequest: {400}, esper.ErrUnauthorized: {401}, esper.ErrForbidden: {403},
		esper.ErrNotFound: {404, 410}, esper.ErrRateLimited: {429}, esper.ErrServer: {500, 501, 502, 503, 504, 599},
		esper.ErrInvalidResponse: {200}, nil: {402, 405, 408, 409, 418, 422, 499, 600, 999},
	} {
		for _, status := range statuses {
			p := newProbe(t, answer(status, "", refusal))
			each(t, clientFor(t, p.URL, "key", quickRetry(1)), "key", func(t *testing.T, do func(context.Context) error) {
				err := do(t.Context())
				if strings.Count(err.Error(), "esper: ") != 1 {
					t.Errorf("%d: %q does not say esper: exactly once", status, err)
				}
				for _, sentinel := range sentinels {
					if errors.Is(err, sentinel) != (sentinel == want) { //nolint:errorlint // identity is the question
						t.Errorf("%d: %v: errors.Is(%v) = %v", status, err, sentinel, errors.Is(err, sentinel))
					}
				}
				var api *esper.APIError
				if errors.As(err, &api) != (status >= 300) || api != nil && api.StatusCode != status {
					t.Errorf("%d: APIError %+v", status, api)
				}
			})
		}
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
		"object of lists":     {`{"errors":{"b":["c.","x"],"z":"y"}}`, "", []string{"b: c.", "b: x", "z: y"}},
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
		"deep objects":        {`{"errors":{"a":{"a":{"a":{"a":{"a":"no"}}}},"b":{"b":{"b":{"c":"d"}}}}}`, "", []string{"c: d"}},
	} {
		for _, contentType := range []string{"application/json", "TEXT/HTML; charset=latin-1", ""} {
			p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", "r-1")
				w.Header().Set("Retry-After", "7")
				answer(http.StatusBadRequest, contentType, tc.body)(w, r)
			})
			_, err := clientFor(t, p.URL, "key").TokenInfo(t.Context())
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
			if strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 2000 || !utf8.ValidString(text) {
				t.Errorf("%s: %q is no short line", name, text)
			}
		}
	}
}

func TestErrorTextsAreBounded(t *testing.T) {
	for size, details := range map[int]int{1500: 32, 60_000: 0} { // the second does not fit into what is read
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Request-Id", strings.Repeat("r", 5000))
			answer(http.StatusBadRequest, "", `{"errors":["`+strings.Repeat(strings.Repeat("x y ", size/4)+`","`, 40)+`"]}`)(w, r)
		})
		_, err := clientFor(t, p.URL, "key").TokenInfo(t.Context())
		var api *esper.APIError
		if !errors.As(err, &api) || len(api.RequestID) > 1100 || len(api.Details) != details || len(err.Error()) > 40<<10 {
			t.Errorf("%+v: %d details, %d bytes of text", api, len(api.Details), len(err.Error()))
		}
	}
}

// An error for an answer says what the server, or a proxy in front of it, answered, and what to do.
func TestAnswerErrors(t *testing.T) {
	const withheld = "[withheld: the server's text repeats the key and is not shown]"
	for name, tc := range map[string]struct {
		status     int
		body, says string
	}{
		"404 of today":       {404, `{"errors":["detail: Not found."],"message":"detail: Not found. ","status":404}`, "404 Not Found: Not found.; check the tenant"},
		"a map of faults":    {400, `{"access_token":["No blanks."],"non_field_errors":["No."],"id":7}`, "400 Bad Request (access_token: No blanks.; No.)"},
		"one sentence":       {400, `{"access_token":"May not be blank.","id":"7"}`, "400 Bad Request (access_token: May not be blank.)"},
		"a list of details":  {422, `{"detail":[{"loc":["query"],"msg":"required"}]}`, "422 Unprocessable Entity (loc: query; msg: required)"},
		"of OAuth":           {400, `{"error":"invalid_request","error_description":"no token"}`, "(error: invalid_request; error_description: no token)"},
		"a word, no key":     {400, `{"token":"missing","message":"developer app is missing"}`, "developer app is missing"},
		"an expired token":   {400, `{"access_token":["expired"],"message":"your token has expired"}`, "your token has expired"},
		"402":                {402, "", "402 Payment Required"},
		"405":                {405, "", "405 Method Not Allowed; check the tenant, or the base URL"},
		"410":                {410, "", "410 Gone; the server says that this endpoint is gone for good"},
		"429 without a wait": {429, "", "429 Too Many Requests; wait a moment"},
		"503 with a wait":    {503, "", "503 Service Unavailable; wait 2m0s"},
		"502":                {502, "<html><title>502 Bad Gateway</title></html>", "502 Bad Gateway: 502 Bad Gateway; this is an HTML page"},
		"530":                {530, "", "TokenInfo: 530"},
		"302":                {302, "", "302 Found; redirects are not followed, since they would hand over the key; check the base URL"},
		"407":                {407, "", "407 Proxy Authentication Required; the proxy wants a user name and a password"},
		"echo":               {400, `{"message":"bad token made-up-key","errors":["no"]}`, "400 Bad Request: " + withheld + " (no); a server that repeats the key"},
		"200, empty":         {200, `{}`, "invalid response: the body has no id, or no enterprise (2 bytes)"},
		"200, no id":         {200, `{"enterprise":"e"}`, "has no id, or no enterprise"},
		"200, no enterprise": {200, `{"id":1,"enterprise":null}`, "has no id, or no enterprise"},
		"200, an envelope":   {200, `{"errors":[],"message":"Try later.","status":503}`, "no enterprise; its message is: Try later."},
		"200, HTML":          {200, "<html>Log in</html>", "perhaps the base URL leads to something else, or a login page stands in front"},
	} {
		p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
			if tc.status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "120")
			}
			answer(tc.status, "", tc.body)(w, r)
		})
		_, err := clientFor(t, p.URL, "made-up-key", quickRetry(1)).TokenInfo(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v\nwant %s", name, err, tc.says)
		}
		if tc.status == 200 && !errors.Is(err, esper.ErrInvalidResponse) {
			t.Errorf("%s: %v is not ErrInvalidResponse", name, err)
		}
	}
}

func TestRenewalErrorTells(t *testing.T) {
	for outcome, want := range map[esper.Outcome][2]string{
		esper.OutcomeNotRenewed: {"OutcomeNotRenewed", "nothing was renewed"},
		esper.OutcomeUnknown:    {"OutcomeUnknown", "do not repeat"},
		esper.OutcomeUnreadable: {"OutcomeUnreadable", "RenewalError.Body"},
		7:                       {"Outcome(7)", "do not repeat"},
	} {
		err := &esper.RenewalError{Outcome: outcome, Err: &esper.APIError{Operation: "RenewToken", StatusCode: 403}}
		text := err.Error()
		if outcome.String() != want[0] || !strings.Contains(text, want[1]) || strings.Count(text, "RenewToken") != 1 {
			t.Errorf("%v: %q, want %q", outcome, text, want)
		}
	}
	zero := &esper.RenewalError{}
	if !strings.Contains(zero.Error(), "unknown") || zero.Unwrap() != nil || zero.Timeout() || (&esper.APIError{}).Error() == "" {
		t.Errorf("zero RenewalError: %q", zero)
	}
}
