package renew

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
)

// full is a document with every field.
func full() policy.Document {
	d := living(stubFirst, 90*day)
	d.Lineage, d.Serial, d.Initial, d.Predecessors = "L", 3, policy.Hash(key("a")), policy.Hash(key("b"))+" "+policy.Hash(key("a"))
	d.EnterpriseID, d.DeveloperAppID = stubEnterprise, stubApp
	d.RenewedAt, d.RefusedAt, d.LostAt = d.IssuedAt, d.IssuedAt.Add(time.Hour), d.IssuedAt.Add(2*time.Hour)
	d.SetAside = key("another")
	d.Attempt = policy.Attempt{ID: "x.1", Host: "h", PID: 7, Begun: d.IssuedAt, Until: d.IssuedAt.Add(time.Minute)}
	d.Answer = key("what the server said <&>")
	return d
}

// decode reads what encode has written, and the fields have the names that the package documentation promises.
func TestDocument(t *testing.T) {
	for name, d := range map[string]policy.Document{"full": full(), "least": {Key: key(stubFirst), Lineage: "L", Serial: 1}} {
		data, err := encode(d, stubBase, time.Now())
		must(t, err)
		for _, mark := range []string{"", "\ufeff"} { // a byte order mark
			if got, err := decode(append([]byte(mark), data...), stubBase); err != nil || got.Document != d || got.savedBy != hostname() {
				t.Errorf("%s: decode: %v\n%+v, want\n%+v", name, err, got.Document, d)
			}
		}
		var fields map[string]any
		must(t, json.Unmarshal(data, &fields))
		if name == "full" {
			want := "answer attempt developer_app_id enterprise_id expires_at format initial_key_hash issued_at key lineage lost_at predecessor_hashes refused_at renewed_at saved_at saved_by serial server set_aside version"
			if got := strings.Join(slices.Sorted(maps.Keys(fields)), " "); got != want {
				t.Errorf("fields:\n%s, want\n%s", got, want)
			}
			if fields["format"] != "esper-go key" || fields["version"] != 2.0 || fields["key"] != stubFirst || !bytes.Contains(data, []byte(`<&>`)) {
				t.Errorf("a wrong format, version or key, or escaped characters: %s", data)
			}
		}
	}
}

// A person or another program may have spoilt the document. The error of Open names the store and says what to do.
func TestDocumentIsWrong(t *testing.T) {
	data, _ := encode(full(), stubBase, time.Now())
	replaced := func(old, by string) string { return strings.Replace(string(data), old, by, 1) }
	for name, test := range map[string]struct{ data, text string }{
		"empty":           {"", "it is empty"},
		"only a mark":     {"\ufeff \n", "it is empty"},
		"cut short":       {string(data[:len(data)/2]), "damaged"},
		"no JSON":         {stubFirst, "damaged"},
		"something else":  {`{"format": "other"}`, "no key document"},
		"a later version": {`{"format": "esper-go key", "version": 3, "key": {"changed": true}}`, "update the program"},
		"another server":  {replaced("https://foo-", "https://bar-"), `its key belongs to "https://bar-api.esper.cloud/api"`},
		"a line break":    {replaced(stubFirst, stubFirst+`\n`), "cannot be sent"},
		"a header":        {replaced(stubFirst, "Bearer "+stubFirst), "cannot be sent"},
		"no key":          {replaced(stubFirst, ""), "cannot be sent"},
		"half an answer":  {replaced(`"saved_at"`, `"answer_base64": "?", "saved_at"`), "damaged"},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := Memory()
			overwrite(t, store, test.data)
			_, err := Open(t.Context(), "foo", store, instead(t, newStub(90*day)), WithInitialToken(key(stubFirst)))
			if err == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "the store in memory") || strings.Contains(err.Error(), stubFirst) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// No value of the package shows a key when it is printed.
func TestPrinters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newStub(90 * day)
		server.fault = fails(401)
		store, source := withCanary(t, server)
		_, _ = get(t, source, server) // the 401 is looked into
		synctest.Wait()               // fmt and json read the fields below without a lock
		values := map[string]any{
			"a source": source, "a source by value": &struct{ S *Source }{source}, "a store": store.Store, "the store's content": store.Store.(*memory).content,
			"a transport": source.Transport(nil), "a client": source.Client(), "a status": source.Status(), "a document": stored(t, store), "the state": source.now.Load().state,
			"an option": []Option{WithInitialToken(key(canary))}, "the settings": source.settings,
			"an error of a store": source.storeError("reading", net.UnknownNetworkError(canary)), // of which %#v shows all
		}
		for name, v := range values {
			checkPrinted(t, name, v)
		}
		err := source.Adopt(t.Context(), key(canary+"\n"))
		checkPrinted(t, "an error", err)
		if !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("Adopt: %v", err)
		}
	})
}

// Whatever a store holds, decode does not panic, and an error of it is one line. A document that decode accepts can be
// encoded and decoded again without a change.
func FuzzDocument(f *testing.F) {
	data, _ := encode(full(), stubBase, time.Now())
	for _, seed := range []string{string(data), "", "\ufeff{}", "[]", `{"format": "esper-go key", "version": 2}`, strings.Replace(string(data), "2026", "9999", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(data, stubBase)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
				t.Errorf("the error is long, or has more than one line: %q", err)
			}
			return
		}
		again, err := encode(got.Document, stubBase, time.Now())
		second, decodeErr := decode(again, stubBase)
		third, thirdErr := encode(second.Document, stubBase, time.Now())
		if err := errors.Join(err, decodeErr, thirdErr); err != nil || len(third) != len(again) {
			t.Errorf("the document changes when it is decoded and encoded again: %v\n%s\n%s", err, again, third)
		}
	})
}

// canary is a key with characters that URLs and JSON escape. The stub makes new keys that begin in the same way.
const canary = "canary key+0/%"

// checkNoCanary fails the test if text holds a key, plain or percent-encoded.
func checkNoCanary(t testing.TB, what, text string) {
	t.Helper()
	for _, form := range []string{"canary key", url.QueryEscape("canary key"), url.PathEscape("canary key")} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the key: %.500s", what, text)
			return
		}
	}
}

// checkPrinted prints a value in many ways, and checks that none shows a key.
func checkPrinted(t testing.TB, what string, v any) {
	t.Helper()
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info(what, slog.Any("value", v))
	texts := []string{log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, v))
	}
	if data, err := json.Marshal(v); err == nil {
		texts = append(texts, string(data))
	}
	for _, text := range texts {
		checkNoCanary(t, what, text)
		if strings.Contains(text, fmt.Sprintf("%x", canary)) || strings.Contains(text, strings.Trim(fmt.Sprint([]byte(canary)), "[]")) {
			t.Errorf("%s shows the key's bytes: %s", what, text)
		}
	}
}

func checkStatus(t testing.TB, s Status) {
	t.Helper()
	checkPrinted(t, "a status", s)
	checkPrinted(t, "an error", s.LastError)
}

// withCanary opens a source whose store has the key canary.
func withCanary(t *testing.T, server *stub, opts ...Option) (*faulty, *Source) {
	t.Helper()
	store := newFaulty()
	server.revoke(canary)
	put(t, store, living(canary, server.lifetime))
	return store, opened(t, server, store, opts...)
}

func TestNoSecretShows(t *testing.T) {
	t.Parallel()
	echo := func(status int) fault {
		return says(status, `{"message": "no: `+canary+`", "errors": ["`+url.QueryEscape(canary)+`"]}`)
	}
	for name, renewal := range map[string]fault{
		"works": func(c call) (*http.Response, error) { return c.act(), nil },
		"400":   echo(400), "401": echo(401), "403": echo(403), "429": echo(429), "500": echo(500), "201": echo(201),
		"half":  says(201, `{"token": "canary key+9/%`),
		"reset": func(call) (*http.Response, error) { return nil, fmt.Errorf("Post %q: reset", canary) },
		"lost":  handled(resets),
	} {
		for _, disk := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var log records
				var told recorder
				server := newStub(90 * day)
				store, source := withCanary(t, server, log.option(), told.option())
				if !disk {
					store.set(unable("Save", ""))
				}
				server.fault = only("renew", renewal)
				time.Sleep(80 * day)
				for range 11 * 3 {
					_, err := source.Token()
					synctest.Wait()
					checkPrinted(t, name, err)
					checkStatus(t, source.Status())
					time.Sleep(8 * time.Hour)
				}
				_, err := get(t, source, server)
				checkPrinted(t, name, err)
				synctest.Wait()
				for _, e := range told {
					checkStatus(t, e.Status)
				}
				if len(told) == 0 || log.String() == "" {
					t.Errorf("%s: nothing was logged, or the function of WithOnChange was not called", name)
				}
				checkNoCanary(t, "the log", log.String())
			})
		}
	}
}
