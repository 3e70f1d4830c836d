package esper_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Who refused: Esper, whose refusals have an envelope, or something in front of it. The bodies are those that the named
// products send by default.
func TestWhoRefused(t *testing.T) {
	const key = "canary-key-of-this-call"
	const html = "<!doctype html>\n<html><head><title>"
	for name, tc := range map[string]struct {
		status  int
		header  []string // name, value, …
		body    string
		gateway bool
		says    string
	}{
		"Esper":                         {401, nil, `{"errors":["Invalid token"],"message":"Invalid token","status":401}`, false, "Invalid token; the key is wrong"},
		"Esper, message and status":     {403, nil, `{"message":"No permission","status":"403"}`, false, "No permission"},
		"Esper, a map of errors":        {401, nil, `{"errors":{"access_token":["expired"]}}`, false, "access_token: expired"},
		"Django REST, Basic named":      {401, []string{"Www-Authenticate", `Basic realm="api"`}, `{"detail":"Invalid token."}`, false, "Invalid token.; the key is wrong"},
		"Django REST, Bearer named":     {401, []string{"Www-Authenticate", `Bearer`}, `{"detail":"Authentication credentials were not provided."}`, false, "were not provided"},
		"Django REST, 403":              {403, nil, `{"detail":"You do not have permission to perform this action."}`, false, "perform this action.; "},
		"Django REST as plain text":     {401, []string{"Content-Type", "text/plain"}, "\ufeff {\"detail\":\"Invalid token.\"}\n", false, "Invalid token."},
		"oauth2-proxy":                  {403, nil, html + "Sign In</title></head><body>…</body></html>", true, "Sign In"},
		"oauth2-proxy, API route":       {401, nil, "Unauthorized\n", true, ""},
		"Kong, key-auth":                {401, []string{"Www-Authenticate", `Key realm="kong"`, "Server", "kong/3.6.1"}, `{"message":"No API key found in request"}`, true, "[Www-Authenticate: Key] [Server: kong/3.6.1]"},
		"Kong, acl":                     {403, nil, `{"message":"You cannot consume this service","request_id":"2f0c"}`, true, "You cannot consume this service"},
		"AWS API Gateway":               {401, nil, `{"message":"Unauthorized"}`, true, ""},
		"AWS API Gateway, 403":          {403, nil, `{"message":"Missing Authentication Token"}`, true, "Missing Authentication Token"},
		"AWS ALB":                       {401, []string{"Server", "awselb/2.0"}, html + "401 Authorization Required</title></head></html>", true, "awselb/2.0"},
		"Azure API Management":          {401, nil, `{ "statusCode": 401, "message": "Access denied due to missing subscription key." }`, true, "missing subscription key"},
		"Tyk":                           {401, nil, "{\n    \"error\": \"Authorization field missing\"\n}", true, "Authorization field missing"},
		"Envoy, jwt_authn":              {401, []string{"Www-Authenticate", `Bearer realm="http://foo/"`, "Server", "envoy"}, "Jwt is missing", true, "[Www-Authenticate: Bearer] [Server: envoy]"},
		"Envoy, RBAC":                   {403, nil, "RBAC: access denied", true, ""},
		"nginx, auth_basic":             {401, []string{"Www-Authenticate", `Basic realm="intern"`}, "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n</html>", true, "[Www-Authenticate: Basic]"},
		"Google IAP":                    {401, nil, "Invalid IAP credentials: empty token", true, ""},
		"Windows proxy, Negotiate":      {401, []string{"Www-Authenticate", "Negotiate"}, "", true, "[Www-Authenticate: Negotiate]"},
		"Cloudflare Access":             {403, []string{"Server", "cloudflare"}, html + "Error ・ Cloudflare Access</title></head></html>", true, "Cloudflare Access"},
		"a captive portal":              {403, nil, html + "Welcome to our guest network</title></head></html>", true, "Welcome to our guest network"},
		"a page behind a comment":       {403, nil, "<!-- made by hand -->\n<html><title>Closed</title></html>", true, "Closed"},
		"an empty body":                 {401, nil, "", true, ""},
		"an empty object":               {401, nil, "{}", true, ""},
		"empty members":                 {401, nil, `{"errors":[],"detail":"","message":"","status":401}`, true, ""},
		"a bare list":                   {403, nil, `["no"]`, true, "no"},
		"cut off":                       {401, []string{"Content-Length", "100"}, `{"detail":"Invalid tok`, true, ""},
		"a gateway that shows the key":  {401, []string{"Www-Authenticate", key, "Server", key}, "<html><title>" + key + "</title>", true, "withheld"},
		"a gateway with an unknown key": {403, nil, `{"message":"Unknown0Key1Of2Thirty3Letters4x"}`, true, "…"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t, func(w http.ResponseWriter, _ *http.Request) {
				for i := 0; i < len(tc.header); i += 2 {
					w.Header().Set(tc.header[i], tc.header[i+1])
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			want := map[bool]error{true: esper.ErrGateway, false: map[int]error{401: esper.ErrUnauthorized, 403: esper.ErrForbidden}[tc.status]}[tc.gateway]
			attempts := map[string]int32{"TokenInfo": 1, "RenewToken": 1}
			if tc.gateway {
				attempts["TokenInfo"] = 3 // as after 502
			}
			client := clientFor(t, p.URL, key, quickRetry(3))
			for operation, do := range map[string]func() error{
				"TokenInfo":  func() error { _, err := client.TokenInfo(t.Context()); return err },
				"RenewToken": func() error { _, err := client.RenewToken(t.Context(), renewal("")); return err },
			} {
				p.count.Store(0)
				err := do()
				for _, kind := range []error{esper.ErrGateway, esper.ErrUnauthorized, esper.ErrForbidden} {
					if errors.Is(err, kind) != (kind == want) { //nolint:errorlint // identity is the question
						t.Errorf("%s: %v: errors.Is(%v) = %v", operation, err, kind, errors.Is(err, kind))
					}
				}
				outcome := map[bool]esper.Outcome{true: esper.OutcomeUnknown, false: esper.OutcomeNotRenewed}[tc.gateway]
				if failed := (*esper.RenewalError)(nil); errors.As(err, &failed) != (operation == "RenewToken") || failed != nil && failed.Outcome != outcome {
					t.Errorf("%s: %v, want %v", operation, err, outcome)
				}
				text := err.Error()
				if !strings.Contains(text, tc.says) || strings.Contains(text, "not Esper's refusal") != tc.gateway || strings.Contains(text, "canary") {
					t.Errorf("%s: %s, want %q", operation, text, tc.says)
				}
				if n := p.count.Load(); n != attempts[operation] {
					t.Errorf("%s: %d requests, want %d", operation, n, attempts[operation])
				}
			}
		})
	}
}

// Reject is asked after a gateway's 401 too, since the store may hold a newer key by now.
func TestSourceLearnsOfAGateways401(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer old-key" {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		answerWell(w, r)
	})
	source := &renewing{key: "old-key", next: "new-key"}
	client, err := esper.New(p.URL, source, quickRetry(1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	if _, err := client.TokenInfo(context.Background()); err != nil || len(source.rejected) != 1 || p.count.Load() != 2 {
		t.Errorf("%v, rejected %v, %d requests", err, source.rejected, p.count.Load())
	}
}
