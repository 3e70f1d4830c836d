package peers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/gen"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/peers/ogen"
	"github.com/esper-go/esper-go/pkg/esper"
)

// TestSameWork checks that all clients decode the same fields: a client that decodes less would be faster.
func TestSameWork(t *testing.T) {
	info := &http.Client{Transport: peers.Canned{Status: http.StatusOK, Body: answers.Info}}
	renewal := &http.Client{Transport: peers.Canned{Status: http.StatusCreated, Body: answers.Renewal}}
	denied := &http.Client{Transport: peers.Canned{Status: http.StatusUnauthorized, Body: answers.Denied}}
	const base = "http://127.0.0.1:1/api"
	for _, p := range peers.All() {
		t.Run(p.Name, func(t *testing.T) {
			call := func(httpClient *http.Client, renew bool) (any, error) {
				client, err := p.New(base, httpClient)
				if err != nil {
					t.Fatal(err)
				}
				if renew {
					return client.RenewToken(t.Context())
				}
				return client.TokenInfo(t.Context())
			}
			got, err := call(info, false)
			if err != nil {
				t.Fatal(err)
			}
			want := "570 " + answers.EnterpriseID + " bindya " + answers.DeveloperAppID + " " + answers.Key +
				" 2019-11-19T15:42:16.637203Z [read write update introspection sdk register] 2019-11-18T15:42:16.637203Z 2019-11-18T15:42:16.637203Z"
			if text := infoText(t, got); text != want {
				t.Errorf("TokenInfo:\n%s, want\n%s", text, want)
			}
			if got, err = call(renewal, true); err != nil {
				t.Fatal(err)
			}
			want = "571 Esper [" + answers.EnterpriseID + "] bindya DeveloperApp object (" + answers.DeveloperAppID + ") example-new-key-for-benchmarks" +
				" 2023-07-03T04:29:53.90602Z [read write update introspection sdk register] 2023-04-04T04:29:53.90602Z 2023-04-04T04:29:53.90602Z"
			if text := renewalText(t, got); text != want {
				t.Errorf("RenewToken:\n%s, want\n%s", text, want)
			}
			if _, err := call(denied, false); err == nil {
				t.Error("the client returns no error for a 401")
			}
		})
	}
}

func text(id, enterprise, user, app, token any, end time.Time, scope []string, created, updated time.Time) string {
	return fmt.Sprint(id, " ", enterprise, " ", user, " ", app, " ", token, " ", end.Format(time.RFC3339Nano), " ", scope,
		" ", created.Format(time.RFC3339Nano), " ", updated.Format(time.RFC3339Nano))
}

func date(t *testing.T, text string) time.Time {
	t.Helper()
	d, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// bare returns a JSON string or number without its quotes.
func bare[T ~[]byte](raw T) string { return strings.Trim(string(raw), `"`) }

func infoText(t *testing.T, v any) string {
	t.Helper()
	switch v := v.(type) {
	case *peers.Info:
		return text(v.ID, v.Enterprise, v.User, v.DeveloperApp, v.Token, v.ExpiresOn, v.Scope, v.CreatedOn, v.UpdatedOn)
	case *gen.GetTokenInfoResponse:
		return infoText(t, v.JSON200)
	case *esper.TokenInfo:
		return text(v.ID, v.Enterprise.Raw, v.User, v.DeveloperApp.Raw, v.Token.Reveal(), v.ExpiresAt.Time, v.Scope, v.CreatedOn.Time, v.UpdatedOn.Time)
	case *ogen.TokenInfoV1:
		return text(bare(v.ID), v.Enterprise, bare(v.User), v.DeveloperApp.Value, v.Token.Value,
			v.ExpiresOn.Value, v.Scope.Value, v.CreatedOn.Value, v.UpdatedOn.Value)
	}
	t.Fatalf("TokenInfo returns a %T, which this test does not know", v)
	return ""
}

func renewalText(t *testing.T, v any) string {
	t.Helper()
	switch v := v.(type) {
	case *peers.Renewal:
		return text(v.ID, v.Enterprise, v.User, v.DeveloperApp, v.Token, v.ExpiresAt, strings.Fields(v.Scope), v.CreatedOn, v.UpdatedOn)
	case *gen.RenewTokenResponse:
		return renewalText(t, v.JSON201)
	case *esper.RenewedToken:
		return text(v.ID, v.Enterprise.Raw, v.User, v.DeveloperApp.Raw, v.Token.Reveal(), v.ExpiresAt.Time, v.Scope, v.CreatedOn.Time, v.UpdatedOn.Time)
	case *ogen.TokenRenewV0:
		return text(bare(v.ID), v.Enterprise.Value, bare(v.User), v.Developerapp.Value, v.Token,
			date(t, v.ExpiresAt.Value), strings.Fields(v.Scope.Value), date(t, v.CreatedOn.Value), date(t, v.UpdatedOn.Value))
	}
	t.Fatalf("RenewToken returns a %T, which this test does not know", v)
	return ""
}
