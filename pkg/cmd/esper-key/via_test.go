package main

import (
	"net/http"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestViaPersonalAccessToken renews a key through its personal access token, after Esper has retired renew-token and
// then TokenInfo.
func TestViaPersonalAccessToken(t *testing.T) {
	t.Parallel()
	o := adopted(t)
	o.run("show").wants(0, "renewable   via renew-token: yes", "renewable   via personal-access-token: yes")
	o.server.Retire(http.StatusGone)
	o.run("renew", "--now").wants(exitPerson, "the key cannot be renewed: ", "410 Gone", "--via personal-access-token")
	o.run("renew", "--now", "--via", "personal-access-token").wants(0, "was renewed")
	o.token()
	o.env = append(o.env, viaVariable+"=personal-access-token")
	o.server.Retire(http.StatusNotFound, "TokenInfo")
	o.run("renew", "--now").wants(0, "was renewed")
	o.run("show").wants(0, "renewable   via renew-token: unknown", "renewable   via personal-access-token: yes").lacks("scopes")
	o.run("check").wants(0)
	o.token()
	o.run("show", "--via", "by-hand").wants(exitUsage, "neither renew-token nor personal-access-token")

	o = adopted(t)
	o.server.FailOperation("listPersonalAccessTokens", -1, espertest.Fault{Body: `{"personal_access_tokens": []}`})
	o.run("show").wants(0, "via personal-access-token: no: the key cannot be renewed: it belongs to none of the 0")
	o.run("show", "-o", "json").wants(0, `"personal-access-token": "no: `)
	o.run("renew", "--now", "--via", "personal-access-token").wants(exitPerson, "the key cannot be renewed: it belongs to none of the 0")
	o.token()
}
