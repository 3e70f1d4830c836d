package renew

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// Adopt replaces any key, in every process, by the key that a person gives, once the server has accepted that key. A key
// that is given again, as configuration management does at each deploy, changes nothing. Nor does a dead key that
// somebody puts into the store during a renewal: it is set aside until the server has refused it twice.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t)
		server.keepOld = true
		other, first := opened(t, server, store), stored(t, store)
		adopt := func(what string, s *Source, given string, want error, changes bool) {
			t.Helper()
			before := stored(t, store)
			if err := s.Adopt(t.Context(), key(given)); !errors.Is(err, want) || changes != (stored(t, store).Key != before.Key) || stored(t, store).Lineage != before.Lineage && !changes {
				t.Errorf("Adopt of %s: %v, want %v; it changes the document: %v", what, err, want, !changes)
			}
		}
		server.add("given")
		adopt("a key that cannot be sent", source, "Bearer x", esper.ErrInvalidArgument, false)
		adopt("a key that the server refuses", source, "unknown", esper.ErrUnauthorized, false)
		adopt("another key", source, "given", nil, true)
		wantKey(t, source, "given")
		if d := stored(t, store); d.Key != key("given") || d.Serial != 1 || d.Lineage == first.Lineage {
			t.Errorf("stored: %+v, want the given key with serial 1 and a new lineage", d)
		}
		time.Sleep(time.Minute)
		wantKey(t, other, "given")
		adopt("the key that is stored", other, "given", nil, false)
		must(t, source.Renew(t.Context()))
		adopt("a key that a renewal has replaced", other, "given", nil, false)
		adopt("the same once more", other, "given", nil, false)
		server.revoke("key-1")
		adopt("a key that the server refuses since a renewal has replaced it", other, "given", nil, false)
		// A process gives the key up after wrong refusals.
		server.fault = fails(401)
		for range 3 {
			_ = source.Check(t.Context())
			time.Sleep(time.Minute)
		}
		if !source.Status().Lost {
			t.Error("the key is not lost after three refusals")
		}
		server.fault = nil
		must(t, opened(t, server, store).Renew(t.Context()))
		adopt("the lost key, which another process has renewed", source, "key-1", nil, false)
		wantKey(t, source, "key-2")
		server.set(only("renew", func(c call) (*http.Response, error) {
			put(t, store, living("dead", 90*day))
			return c.act(), nil
		}))
		must(t, source.Renew(t.Context()))
		for _, aside := range []esper.Secret{key("dead"), {}} {
			wantKey(t, source, "key-3")
			if d := stored(t, store); d.Key != key("key-3") || d.SetAside != aside {
				t.Errorf("stored: %s, set aside: %q, want %q", d.Key.Reveal(), d.Aside(), aside.Reveal())
			}
			time.Sleep(2 * time.Minute)
			must(t, errors.Join(source.RenewIfDue(t.Context()), other.RenewIfDue(t.Context())))
		}
	})
}

// If the initial key differs from the stored key, a warning is logged. Once the stored key is lost, the initial key
// is tried, also again and again, with pauses, while it cannot be saved.
func TestAnotherInitialKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log records
		server, store, source := fresh(t)
		must(t, source.Renew(t.Context()))
		_ = opened(t, server, store, log.option()) // the key that the stored one came from: no warning
		synctest.Wait()
		if log.String() != "" {
			t.Errorf("a log record about the initial key that the stored key came from: %s", &log)
		}
		server.add("another")
		late := opened(t, server, store, log.option(), WithInitialToken(key("another")))
		synctest.Wait()
		if !strings.Contains(log.String(), "is not the stored one") || strings.Contains(log.String(), "another\"") {
			t.Errorf("another initial key: the log has no warning, or shows the key: %s", &log)
		}
		wantKey(t, late, "key-1")
		server.revoke("another")
		store.set(unable("Save", `"another"`))
		const most = 40
		server.set(func(c call) (*http.Response, error) {
			if server.counted("info") > most {
				return nil, errStub
			}
			return c.act(), nil
		})
		for minute := range 15 {
			if minute == 5 {
				store.set(nil)
			}
			_, _ = get(t, late, server)
			time.Sleep(time.Minute)
		}
		if n := server.counted("info"); n > most {
			t.Errorf("%d questions in 15 minutes", n)
		}
		wantKey(t, late, "another")
		if d := stored(t, store); d.Key != key("another") || d.EnterpriseID != stubEnterprise {
			t.Errorf("stored: %+v, want the other initial key with its enterprise", d)
		}
		time.Sleep(time.Minute)
		wantKey(t, source, "another")
	})
}

// A source with ReadOnly writes nothing and renews nothing.
func TestReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, leader := fresh(t)
		saves := store.counted("Save")
		follower := opened(t, server, store, ReadOnly())
		for _, name := range []string{"Renew", "Adopt"} {
			if err := calls[name](t.Context(), follower); !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: %v, want ErrReadOnly", name, err)
			}
		}
		if _, err := follower.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: stubEnterprise, DeveloperAppID: stubApp}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("RenewToken: %v, want ErrReadOnly", err)
		}
		time.Sleep(79 * day)
		go func() { _ = follower.Run(t.Context()) }()
		time.Sleep(day)
		must(t, follower.RenewIfDue(t.Context()))
		if n, m := server.counted("renew"), store.counted("Save")-saves; n != 0 || m != 0 {
			t.Errorf("a read-only source: %d renewals, %d saves, want none", n, m)
		}
		wantKey(t, follower, stubFirst)
		must(t, leader.RenewIfDue(t.Context()))
		if status, err := get(t, follower, server); status != 200 || err != nil {
			t.Errorf("a request after the other source has renewed the key: %d, %v", status, err)
		}
	})
}

// Renew replaces the key now. RenewToken of a client that uses the source does the same, and returns the new key.
func TestRenewNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store, source := fresh(t)
		saves := store.counted("Save")
		if err := source.Renew(t.Context()); err != nil || stored(t, store).Key != key("key-1") || store.counted("Save") != saves+2 {
			t.Fatalf("%v, and %d saves, want one that notes the attempt and one of the new key", err, store.counted("Save")-saves)
		}
		own := esper.RenewRequest{EnterpriseID: stubEnterprise, DeveloperAppID: stubApp}
		renewed, err := source.Client().RenewToken(t.Context(), own)
		if d := stored(t, store); err != nil || renewed.Token != key("key-2") || d.Key != key("key-2") ||
			!renewed.ExpiresAt.Equal(d.ExpiresAt) || !renewed.CreatedOn.Equal(d.IssuedAt) || renewed.Enterprise.ID != stubEnterprise {
			t.Errorf("RenewToken: %+v, %v", renewed, err)
		}
		wantKey(t, source, "key-2")
		if _, err := source.Client().RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: stubApp, DeveloperAppID: stubApp}); !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("RenewToken for another enterprise: %v, want ErrInvalidArgument", err)
		}
		var all sync.WaitGroup
		for range 4 { // the race detector watches what they share
			all.Go(func() {
				if renewed, err := source.RenewToken(t.Context(), own); err != nil || !strings.HasPrefix(renewed.Token.Reveal(), "key-") {
					t.Errorf("calls of RenewToken at once: %v, %v", renewed, err)
				}
			})
		}
		all.Wait()
		next := fmt.Sprint("key-", stored(t, store).Serial)
		store.set(unable("Save", `"`+next+`"`))
		if renewed, err := source.RenewToken(t.Context(), own); err != nil || renewed.Token != key(next) {
			t.Errorf("RenewToken when the new key cannot be saved: %v, %v, want the key", renewed, err)
		}
		store.set(nil)
		server.fault = only("renew", says(500, "why"))
		var failed *esper.RenewalError
		if _, err := source.RenewToken(t.Context(), own); !errors.As(err, &failed) || failed.Outcome != esper.OutcomeUnknown || string(failed.Body) != "why" {
			t.Errorf("RenewToken when the server fails: %v, want a RenewalError with OutcomeUnknown", err)
		}
	})
}
