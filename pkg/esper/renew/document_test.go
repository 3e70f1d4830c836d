package renew

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
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
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(data, stubBase); err != nil || got.Document != d || got.savedBy != hostname() {
			t.Errorf("%s: decode: %v\n%+v, want\n%+v", name, err, got.Document, d)
		}
		if got, err := decode(append([]byte("\ufeff"), data...), stubBase); err != nil || got.Document != d {
			t.Errorf("%s: with a byte order mark: %v", name, err)
		}
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
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
			if _, err := store.Save(t.Context(), []byte(test.data), ""); err != nil {
				t.Fatal(err)
			}
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
		_, _ = get(t, source, server, "GET") // the 401 is looked into
		synctest.Wait()                      // fmt and json read the fields below without a lock
		values := map[string]any{
			"a source": source, "a source by value": &struct{ S *Source }{source}, "a store": store.Store, "the store's content": store.Store.(*memory).content,
			"a transport": source.Transport(nil), "a client": source.Client(), "a status": source.Status(), "a document": stored(t, store), "the state": source.now.Load().state,
			"an option": []Option{WithInitialToken(key(canary))}, "the settings": source.settings,
		}
		for name, v := range values {
			checkPrinted(t, name, v)
		}
		if err := source.Adopt(context.Background(), key(canary+"\n")); err == nil || !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("Adopt: %v", err)
		} else {
			checkNoCanary(t, "an error", err.Error())
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
		if err != nil {
			t.Fatalf("%v: %+v", err, got.Document)
		}
		second, err := decode(again, stubBase)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		third, err := encode(second.Document, stubBase, time.Now())
		if err != nil || len(third) != len(again) {
			t.Errorf("the document changes when it is decoded and encoded again: %v\n%s\n%s", err, again, third)
		}
	})
}
