package esper_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/esper"
)

type sourceFunc func() (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) { return f() }

// renewing is a source with Reject, Server and RenewToken.
type renewing struct {
	key, next string // Reject returns next, or the rejected token if next is empty
	err       error  // of Reject
	server    *url.URL
	rejected  []string
	renewals  []esper.RenewRequest
}

func (s *renewing) Token() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: s.key}, nil }

func (s *renewing) Reject(_ context.Context, token *oauth2.Token) (*oauth2.Token, error) {
	s.rejected = append(s.rejected, token.AccessToken)
	if s.err != nil || s.next == "" {
		return token, s.err
	}
	return &oauth2.Token{AccessToken: s.next}, nil
}

func (s *renewing) Server() *url.URL { return s.server }

func (s *renewing) RenewToken(_ context.Context, r esper.RenewRequest) (*esper.RenewedToken, error) {
	s.renewals = append(s.renewals, r)
	return &esper.RenewedToken{Token: esper.NewSecret("renewed-by-the-source")}, nil
}

// contextSource is a source whose Token method must not be called.
type contextSource func(context.Context) (*oauth2.Token, error)

func (contextSource) Token() (*oauth2.Token, error) { panic("Token was asked instead of TokenContext") }

func (f contextSource) TokenContext(ctx context.Context) (*oauth2.Token, error) { return f(ctx) }

var errSource = errors.New("the vault is sealed")

// knows starts a server that accepts only key. A gateway in front of it refuses the key gateway-key.
func knows(t *testing.T, key string) *probe {
	return newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer " + key:
			answers(200, "", goodAnswer)(w, r)
		case "Bearer gateway-key":
			answers(http.StatusUnauthorized, "", "Unauthorized")(w, r)
		default:
			answers(http.StatusUnauthorized, "", refusal)(w, r)
		}
	})
}

// keys returns the keys that arrived.
func (p *probe) keys() string {
	var keys []string
	for _, r := range p.arrivals() {
		keys = append(keys, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	return strings.Join(keys, " ")
}

// After a 401, of Esper or of a gateway, the client calls Reject once, and sends TokenInfo once more if Reject returns
// another key. Any other call returns the 401.
func TestSourceLearnsOfA401(t *testing.T) {
	for name, tc := range map[string]struct {
		source   renewing
		attempts int
		sent     string
		want     error
	}{
		"another key":               {renewing{next: "good-key"}, 4, "old-key good-key", nil},
		"another key, no retries":   {renewing{next: "good-key"}, 1, "old-key good-key", nil},
		"another bad key":           {renewing{next: "older-key"}, 4, "old-key older-key", esper.ErrUnauthorized},
		"the same key":              {renewing{}, 4, "old-key", esper.ErrUnauthorized},
		"a key that cannot be sent": {renewing{next: "bad\nkey"}, 4, "old-key", esper.ErrInvalidArgument},
		"an error":                  {renewing{err: errSource}, 4, "old-key", errSource},
		"a gateway's":               {renewing{next: "good-key"}, 1, "gateway-key good-key", nil},
	} {
		p := knows(t, "good-key")
		tc.source.key, _, _ = strings.Cut(tc.sent, " ")
		client := clientOf(t, p.URL, &tc.source, quickRetry(tc.attempts))
		_, err := client.TokenInfo(t.Context())
		if !errors.Is(err, tc.want) || tc.want != nil && !errors.Is(err, esper.ErrUnauthorized) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		equal(t, name+": sent", p.keys(), tc.sent)
		equal(t, name+": rejected", strings.Join(tc.source.rejected, " "), tc.source.key)
		_, _, err = readAll(client.Generated().GetTokenInfo(t.Context()))
		must(t, err) // the answer is returned as it is
		_, err = client.RenewToken(t.Context(), renewal("a-key-of-somebody-else"))
		equal(t, name+": RenewToken returns no error", err == nil, false)
		equal(t, name+": sent", p.keys(), tc.sent+strings.Repeat(" "+tc.source.key, 2))
		equal(t, name+": rejected", len(tc.source.rejected), 3)
	}
}

// Only the source renews its own key. The client renews any other key.
func TestSourceRenewsItsOwnKey(t *testing.T) {
	p := newProbe(t, nil)
	source := &renewing{key: "own-key"}
	client := clientOf(t, p.URL, source)
	for _, key := range []string{"", "own-key"} {
		renewed, err := client.RenewToken(t.Context(), renewal(key))
		must(t, err)
		equal(t, "own key", renewed.Token.Reveal(), "renewed-by-the-source")
	}
	params := &gen.RenewTokenParams{AccessToken: "own-key"}
	_, _, err := readAll(client.Generated().RenewToken(t.Context(), enterpriseID, developerAppID, params))
	checkRefused(t, "Generated", err, "Client.RenewToken", "")
	_, err = client.RenewPersonalAccessToken(t.Context(), tokenID, -1)
	checkRefused(t, "RenewPersonalAccessToken", err, "Client.RenewToken", "")
	equal(t, "requests with the own key", p.keys(), "")
	renewed, err := client.RenewToken(t.Context(), renewal("another-key"))
	must(t, err)
	equal(t, "another key", renewed.Token.Reveal()+" "+p.keys(), newKey+" own-key")
	equal(t, "renewals by the source", len(source.renewals), 2)
}

// meddler is a middleware that reads the body, and sets headers that it should not set. It changes those of its own
// request in place.
func meddler(next http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		req.Header["Accept"][0] += ";spoilt"
		if req.Body != nil {
			_, _ = io.ReadAll(req.Body)
		}
		req = req.Clone(req.Context())
		for _, name := range strings.Fields("Authorization authorization Idempotency-Key idempotency-key X-Idempotency-Key") {
			req.Header[name] = []string{"Bearer meddler"}
		}
		return next.RoundTrip(req)
	})
}

// The requests are as the description wants them, and a key arrives as it is, also if a middleware has read the body. A
// renewal without an AccessToken renews the client's own key.
func TestRequestOnTheWire(t *testing.T) {
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	must(t, err)
	newest := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]|\z`).FindSubmatch(changelog)[1]
	version := "esper-go/" + cmp.Or(string(newest), "0.0.0") // if nothing is released
	bases := []string{"", "/", "/api/", "/a/b%2Fc/", "/a%3Fb%25", "/%C3%A9", "/(a;b)*", "//a", "/%7Bid%7D"}
	for i, key := range []string{
		"plain", "a&b", "a+b", "a%b", "a%2Fb", "a%252Fb", "a;b", "a=b", "a/b?c#d", "a b  c", `a"b\c`, "ключ-é", "&lt;",
		"access_token=x&access_token=y", "sealed", "{}|^`<>", "~!*'()", strings.Repeat("%25", 2000),
	} {
		base, agent, accept, opt := bases[i%len(bases)], version, "application/json;spoilt", esper.WithMiddleware(meddler)
		given := key
		if i%2 == 1 {
			agent, accept, opt = "mine/1", "application/json", esper.WithUserAgent("mine/1")
			given = "" // means the client's own key
		}
		p := newProbe(t, nil)
		c := clientFor(t, p.URL+base, key, opt)
		_, err := c.TokenInfo(t.Context())
		_, renewErr := c.RenewToken(t.Context(), renewal(given))
		_, putErr := c.RenewPersonalAccessToken(t.Context(), tokenID, 1888272000)
		must(t, errors.Join(err, renewErr, putErr))
		header := func(more string) string {
			return fmt.Sprintf("map[Accept:[%s] Authorization:[Bearer %s] %sUser-Agent:[%s]] ", accept, key, more, agent)
		}
		for i, want := range []string{
			"GET /v1/token-info/ map[] " + header(""),
			"POST /v0/enterprise/" + enterpriseID + "/developerapp/" + developerAppID + "/renew-token/ " +
				fmt.Sprintf("map[access_token:[%s]] ", key) + header("Connection:[close] Content-Length:[0] "),
			"PUT /authn2/v0/personal-access-token/" + tokenID + " map[] " + header("Connection:[close] "+
				"Content-Length:[24] Content-Type:[application/json] ") + `{"expiry_at":1888272000}`,
		} {
			r := p.arrivals()[i]
			path, _, _ := strings.Cut(r.RequestURI, "?")
			text, _ := io.ReadAll(r.Body)
			got := fmt.Sprintf("%s %s %v %v %s", r.Method, path, r.URL.Query(), r.Header, text)
			equal(t, "request", got, strings.Replace(want, " ", " "+strings.TrimRight(base, "/"), 1))
		}
		equal(t, "requests", len(p.arrivals()), 3)
	}
}

// Each attempt asks the source for the key once. The waits between attempts have full jitter.
func TestTokenInfo_WaitsHaveFullJitter(t *testing.T) {
	for name, tt := range map[string]struct {
		retry        esper.Retry
		attempts     int
		first, limit time.Duration
	}{
		"defaults":     {esper.Retry{}, 4, 250 * time.Millisecond, 30 * time.Second},
		"own":          {esper.Retry{MaxAttempts: 6, MinWait: 1000, MaxWait: 4000}, 6, 1000, 4000},
		"many":         {esper.Retry{MaxAttempts: 11}, 11, 250 * time.Millisecond, 30 * time.Second},
		"long MinWait": {esper.Retry{MinWait: time.Minute}, 4, time.Minute, time.Minute},
		"low MaxWait":  {esper.Retry{MaxWait: 10 * time.Millisecond}, 4, 10 * time.Millisecond, 10 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			shares := make([][]float64, tt.attempts-1) // of the bound, for each wait
			for range 200 {
				server, asked := scripted(raw(503, ""))
				keys := 0
				source := sourceFunc(func() (*oauth2.Token, error) {
					keys++
					return &oauth2.Token{AccessToken: oldKey}, nil
				})
				_, err := clientOf(t, memory, source, server, esper.WithRetry(tt.retry)).TokenInfo(t.Context())
				if !errors.Is(err, esper.ErrServer) || len(*asked) != tt.attempts || keys != tt.attempts {
					t.Fatalf("%s: %d attempts with %d keys, %v", name, len(*asked), keys, err)
				}
				for n := range shares {
					wait, bound := (*asked)[n+1].Sub((*asked)[n]), min(tt.first<<n, tt.limit)
					if shares[n] = append(shares[n], float64(wait)/float64(bound)); wait < 0 || wait > bound {
						t.Errorf("%s: wait %d is %v, its bound %v", name, n, wait, bound)
					}
				}
			}
			for n, s := range shares {
				if slices.Min(s) > 0.2 || slices.Max(s) < 0.8 {
					t.Errorf("%s: wait %d is %.2f to %.2f of its bound", name, n, slices.Min(s), slices.Max(s))
				}
			}
		})
	}
}

func TestTokenInfo_RetryAfter(t *testing.T) {
	const jitter, atOnce, date = -1, -2, http.TimeFormat
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when a synctest bubble begins
	for value, wait := range map[string]time.Duration{
		"1": time.Second, "007": 7 * time.Second, "30": 30 * time.Second, "31": atOnce, "315360000": atOnce, "0": jitter,
		epoch.Add(5 * time.Second).Format(date): 5 * time.Second, "Saturday, 01-Jan-00 00:00:09 GMT": 9 * time.Second,
		epoch.Add(-time.Hour).Format(date): jitter, epoch.Format(date): jitter, epoch.Add(time.Hour).Format(date): atOnce,
		"Fri, 31 Dec 9999 23:59:59 GMT": atOnce, "Mon, 01 Jan 0001 00:00:00 GMT": jitter, "-1": jitter, "NaN": jitter,
		"1.5": jitter, "+1": jitter, "1e308": jitter, "18446744073709551616": jitter, "9223372037": jitter, "soon": jitter,
		"1, 2": jitter,
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				server, asked := scripted(raw(status, "", "Retry-After: "+value), raw(200, goodAnswer))
				_, err := clientFor(t, memory, oldKey, server).TokenInfo(t.Context())
				took, least, most := time.Since(epoch), max(0, wait), max(0, wait)
				if wait == jitter {
					most = 250 * time.Millisecond
				}
				api, refused := errors.AsType[*esper.APIError](err)
				if took < least || took > most || (err == nil) == (wait == atOnce) ||
					refused && (len(*asked) != 1 || api.RetryAfter <= 30*time.Second) {
					t.Errorf("%s: took %v, %d attempts, %v; want %v", value, took, len(*asked), err, wait)
				}
			})
		}
	}
}

// Wherever a call is when its context ends, it ends at once, and before a wait that would outlast the deadline. The
// error tells how: errors.Is finds the context's error, and the cause that the caller gave to it. The outcome of a
// renewal is known as far as it can be, and a key that has arrived is returned. A middleware that removes the end of
// the context changes nothing. Package faults shows the same of WithTimeout.
func TestEndOfACall(t *testing.T) {
	const notRenewed = esper.OutcomeNotRenewed
	begin := strings.TrimSpace(raw(200, strings.Repeat(" ", 300))) + "\r\n\r\n{"
	for name, at := range map[string]struct {
		answer  string // what the server sends before it waits
		outcome esper.Outcome
		sent    int32 // requests
		after   time.Duration
	}{
		"before":    {"", notRenewed, 0, 0},
		"source":    {"", notRenewed, 0, time.Second},
		"dial":      {"", notRenewed, 0, time.Second},
		"no answer": {"", esper.OutcomeUnknown, 1, time.Second},
		"one byte":  {begin, esper.OutcomeUnreadable, 1, time.Second},
		"the key":   {begin + `"token": "` + newKey + `"`, renewedKey, 1, time.Second},
		"a wait":    {raw(429, "", "Retry-After: 20"), notRenewed, 1, time.Second},
		"no wait":   {raw(429, "", "Retry-After: 20"), notRenewed, 1, 0},
	} {
		for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
			for _, lasting := range []bool{false, true} {
				timeout := errors.Is(want, context.DeadlineExceeded)
				if strings.HasSuffix(name, "wait") && timeout != (name == "no wait") {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					what := fmt.Sprintf("%s, %v, lasting %t", name, want, lasting)
					var sent, dials atomic.Int32
					server := piped(func(conn net.Conn) { sent.Add(1); hanging(at.answer)(conn) })
					if name == "dial" {
						dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
							dials.Add(1)
							<-ctx.Done()
							dials.Add(-1)
							return nil, ctx.Err()
						}
						server = esper.WithTransport(&http.Transport{DialContext: dial})
					}
					source := contextSource(func(ctx context.Context) (*oauth2.Token, error) {
						if name == "source" {
							<-ctx.Done()
							return nil, fmt.Errorf("%w: %w", ctx.Err(), context.Cause(ctx))
						}
						return &oauth2.Token{AccessToken: oldKey}, nil
					})
					withoutEnd := around(func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
						_, ok := req.Context().Deadline()
						equal(t, what+": a middleware sees a deadline", ok, true)
						if lasting {
							req = req.WithContext(context.WithoutCancel(req.Context()))
						}
						return next.RoundTrip(req)
					})
					retry := esper.WithRetry(esper.Retry{MaxAttempts: 3, MinWait: time.Millisecond, MaxWait: time.Minute})
					c := clientOf(t, memory, source, server, withoutEnd, esper.WithTimeout(time.Hour), retry)
					for _, op := range operations(c, oldKey)[:3] {
						cause, limit := errors.New("the caller's own reason"), at.after
						ctx, cancel := context.WithCancelCause(t.Context())
						defer time.AfterFunc(at.after, func() { cancel(cause) }).Stop()
						if name == "no wait" {
							limit = time.Second
						}
						if timeout {
							var stop context.CancelFunc
							ctx, stop = context.WithTimeoutCause(t.Context(), limit, cause)
							defer stop()
						}
						synctest.Wait()
						sent.Store(0)
						before, begun := dials.Load(), time.Now()
						_, _, err := op.do(ctx)
						equal(t, what+": it took", time.Since(begun), at.after)
						equal(t, what+": requests", sent.Load(), at.sent)
						synctest.Wait()
						goesOn := op.renews() && dials.Load() > before // a pooled dial may serve another call
						equal(t, what+": the dial goes on", goesOn, false)
						says := map[string]string{
							"a wait":  "while waiting to try again, after: ",
							"no wait": "the wait of 20s for another attempt would outlast the call's deadline, after: ",
						}[name]
						if outcome := outcomeOf(err); op.renews() && outcome != at.outcome || outcome != renewedKey &&
							(!errors.Is(err, want) || !errors.Is(err, cause) && name != "no wait" ||
								os.IsTimeout(err) != timeout && name != "source" || !strings.Contains(err.Error(), says)) {
							t.Errorf("%s: %v; a timeout %t", what, err, os.IsTimeout(err))
						}
					}
				})
			}
		}
	}
}
