package esper_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
)

// realFields is what fields shows of realRenewal.
const realFields = `id=571 user=bindya enterprise=` + enterpriseID + ` app=` + developerAppID +
	` expires=2023-07-03T04:29:53.90602Z scope=read,write,update,introspection,sdk,register` +
	` created=2023-04-04T04:29:53.90602Z updated=2023-04-05T04:29:53.90602Z`

func fields(r *esper.RenewedToken) string {
	const layout = "2006-01-02T15:04:05.999999999Z07:00"
	return fmt.Sprintf("id=%s user=%s enterprise=%s app=%s expires=%s scope=%s created=%s updated=%s", r.ID, r.User,
		r.Enterprise.ID, r.DeveloperApp.ID, r.ExpiresAt.Format(layout), strings.Join(r.Scope, ","),
		r.CreatedOn.Format(layout), r.UpdatedOn.Format(layout))
}

func TestRenewToken_RealAnswerAndItsMutations(t *testing.T) {
	const (
		token   = `"token": "` + newKey + `"`
		expires = `"2023-07-03T04:29:53.906020Z"`
		noDate  = "0001-01-01T00:00:00Z"
		read    = "2023-07-03T04:29:53.90602Z"
		scope   = `"read write update introspection sdk register"`
		scopes  = "read,write,update,introspection,sdk,register"
		noTimes = " expires=" + noDate + " scope= created=" + noDate + " updated=" + noDate
		onlyKey = "id= user= enterprise= app=" + noTimes
	)
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	tests := []struct{ name, old, new, wantOld, wantNew string }{
		{"as it is", "", "", "", ""},
		{"id a string", `571`, `"571"`, "", ""},
		{"id an object", `571`, `{"token": "nested", "n": [1, {}]}`, "id=571", "id="},
		{"id an array", `571`, `[571]`, "id=571", "id="},
		{"id huge", `571`, strings.Repeat("9", 400), "id=571", "id=" + strings.Repeat("9", 400)},
		{"id NaN", `571`, `NaN`, "id=571", "id="},
		{"id missing", `"id": 571, `, ``, "id=571", "id="},
		{"user a number", `"bindya"`, `12`, "bindya", "12"},
		{"user in single quotes", `"bindya"`, `'bindya'`, "bindya", ""},
		{"user with a raw newline", `bindya`, "bin\ndya", "bindya", ""},
		{"user with invalid UTF-8", `bindya`, "bin\xffdya", "bindya", "bin\ufffddya"},
		{"user quotes a token", `bindya`, `\"token\": \"other\"`, "bindya", `"token": "other"`},
		{"enterprise a number", `"Esper [` + enterpriseID + `]"`, `7`, enterpriseID, ""},
		{"enterprise nested", `"Esper [` + enterpriseID + `]"`, `{"id": "x", "token": "nested"}`, enterpriseID, ""},
		{"developerapp null", `"DeveloperApp object (` + developerAppID + `)"`, `null`, developerAppID, ""},
		{"date null", expires, `null`, read, noDate},
		{"date a number", expires, `1688358593`, read, "2023-07-03T04:29:53Z"},
		{"date empty", expires, `""`, read, noDate},
		{"date of Python", expires, `"2023-07-03 04:29:53.906020+00:00"`, "", ""},
		{"date elsewhere", expires, `"2023-07-03T06:29:53.906020+02:00"`, "", ""},
		{"date an object", expires, `{"$date": 1}`, read, noDate},
		{"scope an array", scope, `["read", "write"]`, scopes, "read,write"},
		{"scope nested", scope, `[["read"], {"a": 1}, "sdk"]`, scopes, "sdk"},
		{"unknown fields", `{"id"`, `{"extra": {"token": "nested"}, "list": [{"token": "nested"}], "id"`, "", ""},
		{"huge field after", `"expires_at"`, `"big": "` + strings.Repeat("x", 900<<10) + `", "expires_at"`, "", ""},
		{"too huge field after", `"expires_at"`, `"big": "` + strings.Repeat("x", 2<<20) + `", "expires_at"`, "", ""},
		{"deeply nested field", `{"id"`, `{"deep": ` + deep + `, "id"`, "", ""},
		{"token twice", token, `"token": "first", ` + token, "", ""},
		{"token null and then real", token, `"token": null, ` + token, "", ""},
		{"nested token before", `{"id"`, `{"old": {"token": "nested"}, "id"`, "", ""},
		{"nested token after", `"scope"`, `"old": {"token": "nested"}, "scope"`, "", ""},
		{"upper-case names", `"id": 571, "user"`, `"ID": 571, "User"`, "", ""},
		{"another TOKEN first", token, `"TOKEN": "other", ` + token, "", ""},
		{"another TOKEN", token, token + `, "TOKEN": "other"`, "", ""},
		{"name escaped", `"token"`, `"\u0074ok\u0065n"`, "", ""},
		{"key escaped", `NewMadeUp`, `\u004eew\u004dadeUp`, "", ""},
		{"BOM", `{"id"`, "\ufeff" + `{"id"`, "", ""},
		{"white space around", realRenewal, "\n\n " + realRenewal + " \r\n", "", ""},
		{"commas doubled", `, `, ` ,, `, "", ""},
		{"comma at the end", `Z"}`, `Z",}`, "", ""},
		{"comma missing", `571, `, `571 `, "", ""},
		{"garbage after", realRenewal, realRenewal + "<!-- proxy -->", "", ""},
		{"second document after", realRenewal, realRenewal + `{"token": "other"}`, "", ""},
		{"brace missing", `Z"}`, `Z"`, "", ""},
		{"blanks around the key", `"` + newKey + `"`, `" ` + newKey + `\r\n"`, "", ""},
		{"only the key", realRenewal, "{" + token + "}", realFields, onlyKey},
	}
	var body string
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) { answer(200, "text/html", body)(w, r) })
	client := clientFor(t, p.URL, oldKey)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body = realRenewal
			want := realFields
			if tt.old != "" {
				if !strings.Contains(body, tt.old) {
					t.Fatal("the mutation changes nothing")
				}
				body = strings.ReplaceAll(body, tt.old, tt.new)
			}
			if tt.wantOld != "" {
				want = strings.Replace(want, tt.wantOld, tt.wantNew, 1)
			}
			if !json.Valid([]byte(strings.TrimPrefix(body, "\ufeff"))) || len(body) > mebibyte {
				want = onlyKey // only the key is promised of a broken document
			}
			p.count.Store(0)
			renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
			if got := fields(wantRenewed(t, renewed, err)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			wantCount(t, "POSTs", p.count.Load(), 1)
		})
	}
}
