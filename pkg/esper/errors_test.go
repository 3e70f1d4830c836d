package esper_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// refused is an answer to a call, and what the error of the call is and says.
type refused struct {
	status int
	header string // lines
	body   string
	is     error
	says   string // in parts; $ stands for the end of the text
}

// byGateways are answers of something in front of Esper. The bodies are those that the named products send by default.
func byGateways() map[string]refused {
	gw := esper.ErrGateway
	const html = "<!doctype html>\n<html><head><title>"
	const nginx = "<html>\r\n<head><title>401 Authorization Required</title></head>\r\n</html>"
	return map[string]refused{
		"oauth2-proxy":            {403, "", html + "Sign In</title></head><body>…</body></html>", gw, "Sign In"},
		"oauth2-proxy, API route": {401, "", "Unauthorized\n", gw, ""},
		"Kong, key-auth": {
			401, "WWW-Authenticate: Key realm=\"kong\"\r\nServer: kong/3.6.1", `{"message":"No API key found in request"}`, gw,
			"[Www-Authenticate: Key] [Server: kong/3.6.1]",
		},
		"Kong, acl": {
			403, "", `{"message":"You cannot consume this service","request_id":"2f0c"}`, gw, "You cannot consume this service",
		},
		"AWS API Gateway":      {401, "", `{"message":"Unauthorized"}`, gw, ""},
		"AWS API Gateway, 403": {403, "", `{"message":"Missing Authentication Token"}`, gw, "Missing Authentication Token"},
		"AWS ALB":              {401, "Server: awselb/2.0", html + "401 Authorization Required</title>", gw, "awselb/2.0"},
		"Azure API Management": {
			401, "", `{ "statusCode": 401, "message": "Access denied due to missing subscription key." }`, gw,
			"missing subscription key",
		},
		"Tyk": {401, "", "{\n    \"error\": \"Authorization field missing\"\n}", gw, "Authorization field missing"},
		"Envoy, jwt_authn": {
			401, "WWW-Authenticate: Bearer realm=\"http://foo/\"\r\nServer: envoy", "Jwt is missing", gw,
			"[Www-Authenticate: Bearer] [Server: envoy]",
		},
		"Envoy, RBAC":              {403, "", "RBAC: access denied", gw, ""},
		"nginx, auth_basic":        {401, `WWW-Authenticate: Basic realm="intern"`, nginx, gw, "[Www-Authenticate: Basic]"},
		"Google IAP":               {401, "", "Invalid IAP credentials: empty token", gw, ""},
		"Windows proxy, Negotiate": {401, "WWW-Authenticate: Negotiate", "", gw, "[Www-Authenticate: Negotiate]"},
		"Cloudflare Access": {
			403, "Server: cloudflare", html + "Error ・ Cloudflare Access</title></head></html>", gw, "Cloudflare Access",
		},
		"a captive portal":      {403, "", html + "Our guest network</title></head></html>", gw, "Our guest network"},
		"a page with a comment": {403, "", "<!-- made by hand -->\n<html><title>Closed</title></html>", gw, "Closed"},
		"an empty body":         {401, "", "", gw, ""},
		"an empty object":       {401, "", "{}", gw, ""},
		"empty members":         {401, "", `{"errors":[],"detail":"","message":"","status":401}`, gw, ""},
		"a bare list":           {403, "", `["no"]`, gw, "no"},
		"cut off":               {401, "Content-Length: 100", `{"detail":"Invalid tok`, gw, ""},
		"cut off behind it":     {401, "Content-Length: 100", `{"detail":"Invalid token."}`, gw, ""},
		"a gateway that shows the key": {
			401, "WWW-Authenticate: " + canary + "\r\nServer: " + canary, "<html><title>" + canary + "</title>", gw, "withheld",
		},
		"a gateway with an unknown key": {403, "", `{"message":"Unknown0Key1Of2Thirty3Letters4x"}`, gw, "…"},
	}
}

// An error for an answer says what the server answered, or something in front of it, and what to do. Only a 401 or 403
// in Esper's own envelope says something about the key. Any other is ErrGateway: a read is tried again as after 502,
// and a renewal's outcome is unknown.
func TestWhoRefused(t *testing.T) {
	bad, unauthorized, forbidden, invalid := esper.ErrBadRequest, esper.ErrUnauthorized, esper.ErrForbidden,
		esper.ErrInvalidResponse
	answers := map[string]refused{
		"Esper": {
			401, "", `{"errors":["Invalid token"],"message":"Invalid token","status":401}`, unauthorized,
			"Invalid token; the key is wrong",
		},
		"Esper, message":      {403, "", `{"message":"No permission","status":"403"}`, forbidden, "No permission"},
		"Esper, a map":        {401, "", `{"errors":{"access_token":["expired"]}}`, unauthorized, "access_token: expired"},
		"Django REST, Basic":  {401, `WWW-Authenticate: Basic realm=a`, `{"detail":"No."}`, unauthorized, "No.; the key is"},
		"Django REST, Bearer": {401, `WWW-Authenticate: Bearer`, `{"detail":"No."}`, unauthorized, ": No.; the key is wrong"},
		"Django REST, 403":    {403, "", `{"detail":"You do not have permission."}`, forbidden, "not have permission.; "},
		"Django REST, plain":  {401, "Content-Type: text/plain", "\ufeff {\"detail\":\"No.\"}\n", unauthorized, ": No.;"},
		"404 of today":        {404, "", `{"message":"detail: No. "}`, esper.ErrNotFound, ": No.; check the tenant"},
		"404 with an id":      {404, "X-Request-Id: req-7", "", esper.ErrNotFound, "404 Not Found, request req-7; check"},
		"407":                 {407, "", "", nil, "407 Proxy Authentication Required; the proxy wants a user name"},
		"503 with a wait":     {503, "Retry-After: 120", "", esper.ErrServer, "503 Service Unavailable; wait 2m0s"},
		"302":                 {302, "", "", esper.ErrRedirect, "302 Found; redirects are not followed|; check the base URL"},
		"502":                 {502, "", "<html><title>No</title></html>", esper.ErrServer, "502 Bad Gateway: No|HTML page"},
		"echo of the key":     {400, "", `{"message":"no ` + canary + `","errors":["no"]}`, bad, "withheld|(no); a server"},
		"200, empty":          {200, "", `{}`, invalid, "invalid response: the body has no id, or no enterprise (2 bytes)"},
		"200, no enterprise":  {200, "", `{"id":1,"enterprise":null}`, invalid, "has no id, or no enterprise"},
		"200, an envelope":    {200, "", `{"errors":[],"message":"Later.","status":503}`, invalid, "its message is: Later."},
		"200, HTML":           {200, "", "<html>Log in</html>", invalid, "or a login page stands in front"},
	}
	for want, statuses := range map[error][]int{
		esper.ErrRedirect: {300, 301, 399}, bad: {400}, unauthorized: {401}, forbidden: {403}, esper.ErrNotFound: {404, 410},
		esper.ErrRateLimited: {429}, esper.ErrServer: {500, 501, 502, 503, 504, 505, 599},
		nil: {402, 405, 408, 409, 418, 422, 499, 600, 999},
	} {
		for _, status := range statuses {
			says := map[int]string{
				402: " Payment Required", 405: " Method Not Allowed|; check the tenant, or the base URL",
				410: " Gone|; the server says that this endpoint is gone", 429: " Too Many Requests|; wait a moment",
			}[status]
			answers[fmt.Sprint("envelope ", status)] = refused{status, "", refusal, want, fmt.Sprintf(": %d%s", status, says)}
		}
	}
	maps.Copy(answers, byBody())
	maps.Copy(answers, byGateways())
	for name, tc := range answers {
		s := situation{
			status: tc.status, body: tc.body, is: tc.is, says: tc.says, tries: 1, outcome: esper.OutcomeUnknown,
			serve: saying(raw(tc.status, tc.body, strings.Split(tc.header, "\r\n")...)),
		}
		gateway := tc.is == esper.ErrGateway //nolint:errorlint // identity is the question
		if gateway || tc.header == "" && slices.Contains([]int{429, 500, 502, 503, 504}, tc.status) {
			s.tries = 3
		}
		switch {
		case tc.status == 200:
			s.outcome = noRenewal // see TestRenewalFails
		case tc.status/100 == 4 && tc.status != 408 && !gateway:
			s.outcome = esper.OutcomeNotRenewed
		}
		s.check(t, name)
	}
}

// A redirect is an error, wherever it leads. Through Generated it is an answer without a Location.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, location := range []string{
		memory + "/api/v1/token-info/", "http://other.example/api/", "https://127.0.0.1/api/", "//127.0.0.1/api/",
		"/api/elsewhere/", "?again", "http://[::1", "",
	} {
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
			situation{
				serve: saying(raw(status, "", "Location: "+location)), status: status, is: esper.ErrRedirect, tries: 1,
			}.check(t, fmt.Sprint(status, " to ", location))
		}
	}
}

// byBody are answers with a reason in each form that servers and gateways have for it. The text of an error is one line
// of bounded length, with 32 details at most.
func byBody() map[string]refused {
	long, list := strings.Repeat("é", 5000), strings.Repeat(strings.Repeat("x y ", 375)+`","`, 40)
	many := " (" + strings.Repeat("x y ", 64) + "…)" // texts that are the same are shown once
	answers := make(map[string]refused)
	for body, says := range map[string]string{
		`{"errors":["a","b"],"message":"m","status":400}`: ": m (a; b)", `{"message":"m","status":"400"}`: ": m",
		`{"message":"m","status":200}`: ": m", `{"status":{"a":[1]},"message":"m"}`: ": m", `{"detail":"d"}`: ": d",
		`{"errors":[{"b":"2","a":"1"},{"c":["3",4]}]}`: " (a: 1; b: 2; c: 3; c: 4)", `{"message":7,"detail":"d"}`: ": d",
		`{"errors":{"b":["c.","x"],"z":"y"}}`: " (b: c.; b: x; z: y)", `{"message":{"a":1},"errors":["a"]}`: " (a)",
		`{"errors":null,"message":null,"detail":null}`: "", `{"detail":"d","message":"m"}`: ": m", `{"message":"m"`: "",
		`{"errors":[1,true,null,2.5]}`: " (1; true; 2.5)", `{"errors":"a","message":"m"}`: ": m (a)", "": "", `"a"`: "",
		`{"token":["No."],"non_field_errors":["N."],"id":7}`: " (N.; token: No.)", `{"token":"no","message":"m"}`: ": m",
		`{"access_token":"May not.","id":"7"}`: " (access_token: May not.)", "\x00\xff\xfe": "", `["No ID."]`: " (No ID.)",
		`{"detail":[{"loc":["query"],"msg":"no"}]}`:                         " (loc: query; msg: no)",
		`{"error":"e","error_description":"d"}`:                             " (error: e; error_description: d)",
		`{"message":"a\nb\r\nc\u2028d\u0000e\u001b[31m","errors":["f\ng"]}`: ": a b  c d e [31m (f g)",
		`{"message":"` + long + `"}`:                                        ": " + strings.Repeat("é", 512) + "…",
		`{"message":"` + long[:1024] + `"}`:                                 ": " + long[:1024],
		`{"errors":["` + list + `"]}`:                                       many,
		`{"errors":["` + list + list + `"]}`:                                "", // over 64 KiB
		`{"errors":[[[[[["too deep"]]]]],[[["b"]]],"a"]}`:                   " (b; a)",
		`{"errors":[` + strings.Repeat(`["a","b"],`, 20) + `"c"]}`:          " (" + strings.Repeat("a; b; ", 15) + "a; b)",
		`{"errors":{"a":{"a":{"a":{"a":{"a":"no"}}}},"b":{"b":{"c":"d"}}}}`: " (c: d)",
	} {
		name := fmt.Sprintf("%.60q, %d bytes", body, len(body))
		answers[name] = refused{400, "Content-Type: text/html", body, esper.ErrBadRequest, "400 Bad Request" + says + "$"}
	}
	return answers
}
