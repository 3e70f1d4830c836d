package esper_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

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
		"oauth2-proxy": {403, "", html + "Sign In</title></head><body>…</body></html>", gw, "Sign In"},
		"Kong, key-auth": {
			401, "WWW-Authenticate: Key realm=\"kong\"\r\nServer: kong/3.6.1", `{"message":"No API key found in request"}`, gw,
			"[Www-Authenticate: Key] [Server: kong/3.6.1]",
		},
		"Kong, acl":       {403, "", `{"message":"You cannot consume this service","request_id":"2f0c"}`, gw, "You cannot"},
		"AWS API Gateway": {401, "", `{"message":"Unauthorized"}`, gw, ""},
		"AWS ALB":         {401, "Server: awselb/2.0", html + "401 Authorization Required</title>", gw, "awselb/2.0"},
		"Azure API Management": {
			401, "", `{ "statusCode": 401, "message": "Access denied due to missing subscription key." }`, gw, "denied due",
		},
		"Tyk": {401, "", "{\n    \"error\": \"Authorization field missing\"\n}", gw, "Authorization field missing"},
		"Envoy, jwt_authn": {
			401, "WWW-Authenticate: Bearer realm=\"http://foo/\"\r\nServer: envoy", "Jwt is missing", gw, "[Server: envoy]",
		},
		"Envoy, RBAC":              {403, "", "RBAC: access denied", gw, ""},
		"nginx, auth_basic":        {401, `WWW-Authenticate: Basic realm="intern"`, nginx, gw, "[Www-Authenticate: Basic]"},
		"Google IAP":               {401, "", "Invalid IAP credentials: empty token", gw, ""},
		"Windows proxy, Negotiate": {401, "WWW-Authenticate: Negotiate", "", gw, "[Www-Authenticate: Negotiate]"},
		"Cloudflare Access":        {403, "", html + "Error ・ Cloudflare Access</title></head></html>", gw, "Error ・ Cloud"},
		"a page with a comment":    {403, "", "<!-- made by hand -->\n<html><title>Closed</title></html>", gw, "Closed"},
		"an empty body":            {401, "", "", gw, ""},
		"an empty object":          {401, "", "{}", gw, ""},
		"empty members":            {401, "", `{"errors":[],"detail":"","message":"","status":401}`, gw, ""},
		"a bare list":              {403, "", `["no"]`, gw, "no"},
		"cut off":                  {401, "Content-Length: 100", `{"detail":"Invalid tok`, gw, ""},
		"cut off behind it":        {401, "Content-Length: 100", `{"detail":"Invalid token."}`, gw, ""},
		"a gateway that shows the key": {
			401, "WWW-Authenticate: " + canary + "\r\nServer: " + canary, "<html><title>" + canary + "</title>", gw, "withheld",
		},
		"a gateway with an unknown key": {403, "", `{"message":"Unknown0Key1Of2Thirty3Letters4x"}`, gw, "…"},
	}
}

// An error for an answer says what the server answered, or something in front of it, and what to do. Only a 401 or 403
// in Esper's own envelope says something about the key. Any other is ErrGateway: a read is tried again as after 502,
// and a renewal's outcome is unknown. A redirect is an error, wherever it leads; through Generated it is an answer
// without a Location.
func TestWhoRefused(t *testing.T) {
	bad, unauthorized, forbidden, invalid := esper.ErrBadRequest, esper.ErrUnauthorized, esper.ErrForbidden,
		esper.ErrInvalidResponse
	answers := map[string]refused{
		"Esper":               {401, "", `{"errors":["No."],"message":"No.","status":401}`, unauthorized, "No.; the key is"},
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
	for _, location := range []string{
		memory + "/api/v1/token-info/", "http://other.example/api/", "https://127.0.0.1/api/", "//127.0.0.1/api/",
		"/api/elsewhere/", "?again", "http://[::1", "",
	} {
		for _, status := range []int{300, 301, 302, 303, 304, 305, 307, 308, 399} {
			answers[fmt.Sprint(status, " to ", location)] = refused{status, "Location: " + location, "", esper.ErrRedirect, ""}
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

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// If a renewal may have arrived and there is no answer, nobody knows what became of the key. A 2xx answer without a key
// that can be read is kept. TestWhoRefused has the other answers. A renewal is sent once, unless the answer is 429.
func TestRenewalFails(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closed": saying(""), "garbage": saying("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
		"cut in the head": saying("HTTP/1.1 201 Created\r\nContent-"), "no colon": saying("HTTP/1.1 200 OK\r\nno\r\n\r\n"),
	} {
		situation{serve: serve, says: "no answer from 127.0.0.1", tries: 3}.check(t, name)
	}
	// The body is the connection itself. Reading it would outlast every timeout.
	switching := hanging("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	situation{serve: switching, status: 101, tries: 1}.check(t, "a switch of protocols")
	reasons := map[string]string{
		"empty": "is empty", "HTML": "an HTML page", "cut in the key": "cut short", "an empty object": "no usable new token",
	}
	token := func(value string) string { return strings.Replace(realRenewal, `"`+newKey+`"`, value, 1) }
	for name, body := range map[string]string{
		"empty":                    "",
		"the key alone":            `"` + newKey + `"`,
		"HTML":                     `<html><body>"token": "` + newKey + `"</body></html>`,
		"an array":                 `[` + realRenewal + `]`,
		"an empty object":          "{}",
		"cut in the key":           realRenewal[:strings.Index(realRenewal, newKey)+10],
		"cut in an escape":         `{"token": "` + newKey + `\"`,
		"cut in a number":          `{"token": 1234567890`,
		"only nested":              `{"data": ` + realRenewal + `}`,
		"two tokens, malformed":    `{"data": [` + realRenewal + `, {"token": "other"}, NaN}`,
		"the old key":              token(`" ` + canary + ` "`),
		"the old key, cut":         `{"token": "` + canary + `", "id": 57`,
		"the old key, malformed":   `{"token": NaN, "old": {"token": "` + canary + `"}`,
		"token null":               token(`null`),
		"token a lone surrogate":   token(`"\ud83d` + newKey + `"`),
		"token invalid UTF-8":      token("\"" + newKey + "\xff\""),
		"token with a raw newline": token("\"" + newKey + "\n\""),
		"token with a newline":     token(`"` + newKey[:9] + `\n` + newKey[9:] + `"`),
		"token with a hidden mark": token(`"` + newKey[:9] + `\u200b` + newKey[9:] + `"`), // no source would accept these
		"token with its scheme":    token(`"Bearer ` + newKey + `"`),
		"opening braces":           strings.Repeat("{", 100000),
		"broken gzip":              "\x1f\x8b\x00\x00",
	} {
		situation{
			serve: saying(raw(201, body)), status: 201, body: body, is: esper.ErrInvalidResponse,
			says: "invalid response: |" + reasons[name], outcome: esper.OutcomeUnreadable,
		}.check(t, name)
	}
}

// The key is returned whatever the rest of the answer is, and whatever Content-Encoding says of it. Only the key is
// promised of an answer that is broken.
func TestRenewToken_RealAnswerAndItsMutations(t *testing.T) {
	const (
		token  = `"token": "` + newKey + `"`
		user   = `"user": "bindya"`
		fields = "571 bindya " + enterpriseID + " " + developerAppID + " 2023-07-03 04:29:53.90602 +0000 UTC " +
			"[read write update introspection sdk register] 2023-04-04 04:29:53.90602 +0000 UTC " +
			"2023-04-05 04:29:53.90602 +0000 UTC"
	)
	change := func(old, with string) string { return strings.ReplaceAll(realRenewal, old, with) }
	zipped := gzipped(t, realRenewal)
	for name, body := range map[string]string{
		"as it is":               realRenewal,
		"odd fields":             `{"id": [{}], "user": 1.5, "scope": {"a": [1]}, "expires_at": [], ` + token + `}`,
		"only the key":           `{` + token + `}`,
		"a raw newline":          change(`bindya`, "bin\ndya"),
		"a quoted token":         change(user, `"user": "\"token\": \"other\""`),
		"an object with a token": change(user, `"user": {"token": "nested", "n": [1, {}]}`),
		"unknown fields":         change(`{"id"`, `{"extra": {"token": "nested"}, "list": [{"token": "nested"}], "id"`),
		"broken behind it":       strings.TrimSuffix(realRenewal, "}") + `, "old": {"token": "other"}, NaN}`,
		"too huge field after":   change(`"expires_at"`, `"big": "`+strings.Repeat("x", 2<<20)+`", "expires_at"`),
		"deeply nested field":    change(`{"id"`, `{"deep": `+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`, "id"`),
		"token twice":            change(token, `"token": "first", `+token),
		"token null, then real":  change(token, `"token": null, `+token),
		"the old key after it":   change(token, token+`, "token": "`+oldKey+`"`),
		"the old key, malformed": `{"token": "` + oldKey + `", NaN, ` + token + `}`,
		"another TOKEN":          change(token, token+`, "TOKEN": "other"`),
		"name escaped":           change(`"token"`, `"\u0074ok\u0065n"`),
		"key escaped":            change(`NewMadeUp`, `\u004eew\u004dadeUp`),
		"BOM and white space":    "\n\ufeff" + realRenewal + "\r\n ",
		"comma at the end":       change(`Z"}`, `Z",}`),
		"blanks around the key":  change(`"`+newKey+`"`, `" `+newKey+`\r\n"`),
		"gzip":                   zipped,
		"gzip and more":          zipped + "junk",
		"gzip without its end":   zipped[:len(zipped)-6],
	} {
		for _, label := range []string{"gzip", "br", "identity"} {
			var posts atomic.Int32
			answer := raw(200, body, "Content-Type: text/html", "Content-Encoding: "+label)
			server := piped(func(conn net.Conn) { posts.Add(1); saying(answer)(conn) })
			renewed, err := clientFor(t, memory, oldKey, server).RenewToken(t.Context(), renewal(oldKey))
			r := cmp.Or(renewed, &esper.RenewedToken{})
			wantOutcome(t, name+", "+label, r.Token, err, renewedKey, "")
			got := fmt.Sprintln(r.ID, r.User, r.Enterprise.ID, r.DeveloperApp.ID, r.ExpiresAt, r.Scope, r.CreatedOn, r.UpdatedOn)
			if strings.Trim(body, "\ufeff\r\n ") == realRenewal {
				equal(t, name, got, fields+"\n")
			}
			equal(t, name+", "+label+": POSTs", posts.Load(), 1)
		}
	}
}

// HTTP/2 sends a request again by itself, and so does HTTP/1.1 over a connection that was kept. Nobody could tell
// whether the first one arrived. So a renewal uses a new HTTP/1.1 connection, and so does a TokenInfo after an attempt,
// or a call, that got no answer.
func TestRenewToken_NeverOnAUsedConnection(t *testing.T) {
	var requests atomic.Int32
	arrived := make(chan struct{})
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		switch requests.Add(1) {
		case 1:
			abort(w, r)
		case 6:
			close(arrived)
			<-r.Context().Done() // the client gives up
		}
		answers(200, "", goodAnswer)(w, r)
	}, new(tls.Config))
	transport := p.transport()
	c := clientFor(t, p.URL, "key", esper.WithTransport(transport), esper.WithMiddleware(meddler), quickRetry(2))
	call := func(ctx context.Context, calls []operation, want error) {
		for _, op := range calls {
			if _, _, err := op.do(ctx); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", op.name, err, want)
			}
		}
	}
	ctx, end := context.WithCancelCause(t.Context())
	go func() { <-arrived; end(context.DeadlineExceeded) }()
	ops := operations(c, "key")
	call(t.Context(), ops[:3], nil)
	call(t.Context(), ops[:1], nil)
	call(ctx, ops[:1], context.DeadlineExceeded)
	call(t.Context(), ops[:3], nil)
	var got string
	names := make(map[string]rune) // of the client's ends
	for _, r := range p.arrivals() {
		if names[r.RemoteAddr] == 0 {
			names[r.RemoteAddr] = 'a' + rune(len(names))
		}
		got += fmt.Sprintf("%s %s %c %s, ", r.Method, r.Proto, names[r.RemoteAddr], r.Header.Get("Connection"))
	}
	const want = "GET HTTP/2.0 a , GET HTTP/1.1 b close, POST HTTP/1.1 c close, PUT HTTP/1.1 d close, " +
		"GET HTTP/2.0 a , GET HTTP/2.0 a , GET HTTP/1.1 e close, POST HTTP/1.1 f close, PUT HTTP/1.1 g close, "
	equal(t, "requests over connections", got, want)
	same := slices.Contains(transport.TLSClientConfig.NextProtos, "h2") && !transport.DisableKeepAlives
	equal(t, "WithTransport's transport is as it was", same, true)
}

// Behind each byte of an answer the connection is closed, or says nothing more. The key is returned if it has
// arrived, and otherwise what has arrived. Package faults does the same with resets over a network.
func TestRenewToken_CutAtEachByte(t *testing.T) {
	const limit = 7 * time.Second
	for _, body := range []string{ // newKey occurs once, as the top-level token
		`{"id": 571, "old": {"token": "nested"}, "list": [{"token": "listed"}], "note": "\"token\": \"quoted\"", ` +
			`"token": "` + newKey + `", "expires_at": "2023-07-03T04:29:53.906020Z"}`,
		`{"token": "` + newKey + `", "id": 571, "old": {"token": "nested"}}`,
		`{"id": 571, "token\u0020": "no", "token": "` + newKey + `"}`,
	} {
		for length := range body {
			for end, serve := range map[time.Duration]func(string) func(net.Conn){0: saying, limit: hanging} {
				synctest.Test(t, func(t *testing.T) {
					posts, start := 0, time.Now()
					whole := raw(201, body)
					sent := whole[:len(whole)-len(body)+length]
					server := piped(func(conn net.Conn) { posts++; serve(sent)(conn) })
					client := clientFor(t, memory, oldKey, server, esper.WithTimeout(limit), quickRetry(3))
					renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
					outcome := esper.OutcomeUnreadable
					if strings.Contains(sent, newKey+`"`) {
						outcome = renewedKey
					}
					wantOutcome(t, sent, cmp.Or(renewed, &esper.RenewedToken{}).Token, err, outcome, body[:length])
					told := strings.Contains(fmt.Sprint(err), "(WithTimeout limits an attempt)")
					took, late := time.Since(start), err != nil && end > 0
					if took != end || posts != 1 || os.IsTimeout(err) != late || told != late {
						t.Fatalf("after %s: %v after %v, %d POSTs", sent, err, took, posts)
					}
				})
			}
		}
	}
}

// FuzzAnswers lets a server answer with any status, body and id. An error says in one line what is wrong, and does not
// show the key. Malformed tokens do not spoil a list of personal access tokens, but an answer
// without a whole list is an error.
func FuzzAnswers(f *testing.F) {
	plain := regexp.MustCompile(`^[0-9A-Za-z]+$`)
	for _, token := range []string{
		`{"id": "` + tokenID + `", "name": "n", "token": "` + canary + `", "expiry_at": 1888272000, "legacy_token_id": 571}`,
		`{"id": 7, "token": "another", "expiry_at": -1, "legacy_token_id": "571", "legacy_developer_app_id": null}`,
		`{"id": [1], "token": "key", "expiry_at": {}, "created_at": 1, "name": null}`, `{"token": "cut`, `null`, `[]`, ``,
		`{"token": "a", "token": "b"}`, `{"Token": "\u0063anary"}`, "{\"token\": \"\xff\"}", `{"token": 12}`, `<html>`,
		`{,,"token":,"token": "k",}`, `{"a": [1}, "token": "k"}`, `{"TOKEN": "k", "Token": 1}`, `{"token":"k"}{"token":"l"}`,
	} {
		f.Add(uint16(0), token, "")
		f.Add(uint16(0), `{"count": 1, "personal_access_tokens": [`+token+`, `+token+`]}`, "")
		f.Add(uint16(0), `{"personal_access_tokens": `+token+`}`, "")
	}
	for _, tc := range byBody() {
		f.Add(uint16(200), tc.body, "a request")
	}
	f.Fuzz(func(t *testing.T, more uint16, body, requestID string) {
		status := 200 + int(more)%800
		if strings.ContainsFunc(requestID, unicode.IsControl) || len(requestID) > 1000 || status == 204 || status == 304 {
			return // no header holds such an id, and these have no body
		}
		server := piped(saying(raw(status, body, "X-Request-Id: "+requestID)))
		client := clientFor(t, memory, canary, server, quickRetry(1))
		shown := func(err error) {
			checkError(t, "an error", err)
			equal(t, err.Error()+" is a line of text", isLine(err.Error(), 12<<10), true)
		}
		if status/100 != 2 {
			_, err := client.TokenInfo(t.Context())
			api, ok := errors.AsType[*esper.APIError](err)
			if !ok || api.StatusCode != status || string(api.Body) != body || len(api.Details) > 32 {
				t.Errorf("%#v", err)
			}
			shown(err)
			return
		}
		var whole struct {
			Token json.RawMessage `json:"token"`
			List  json.RawMessage `json:"personal_access_tokens"`
		}
		var items []json.RawMessage
		none := json.Unmarshal([]byte(body), &whole) != nil || json.Unmarshal(whole.List, &items) != nil
		list, err := client.ListPersonalAccessTokens(t.Context())
		switch {
		case json.Valid([]byte(body)) && (none != (err != nil) || len(list) != len(items)),
			err != nil && !errors.Is(err, esper.ErrInvalidResponse):
			t.Errorf("%d tokens, %v; want %d, none %t", len(list), err, len(items), none)
		case err != nil:
			shown(err)
		}
		for _, op := range operations(client, oldKey)[1:3] {
			_, renewed, err := op.do(t.Context())
			var key string
			_ = json.Unmarshal(whole.Token, &key)
			unique := strings.Count(body, "token\"") == 1 && plain.MatchString(key)
			switch {
			case err == nil && (renewed.IsZero() || strings.ContainsRune(renewed.Reveal(), utf8.RuneError)),
				err == nil && !strings.Contains(strings.ToLower(body), "token") && !strings.Contains(body, `\u`),
				err != nil && outcomeOf(err) != esper.OutcomeUnreadable:
				t.Errorf("%v, %v", renewed, err)
			case unique && (err != nil || renewed.Reveal() != key):
				t.Errorf("%v, %v; want the key in %q", renewed, err, body)
			case err != nil:
				shown(err)
			}
		}
	})
}
