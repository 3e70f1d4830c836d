package renew

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

// A key that a person gives takes the place of any other, in every process, once the server has accepted it.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		server.keepOld = true
		source, other := opened(t, server, store), opened(t, server, store)
		if err := source.Adopt(t.Context(), key("unknown")); !errors.Is(err, esper.ErrUnauthorized) || stored(t, store).Key != key(stubFirst) {
			t.Errorf("a key that the server refuses: %v", err)
		}
		first := stored(t, store)
		server.mu.Lock()
		server.add("given")
		server.mu.Unlock()
		if err := source.Adopt(t.Context(), key("given")); err != nil {
			t.Fatal(err)
		}
		wantKey(t, source, "given")
		if d := stored(t, store); d.Key != key("given") || d.Serial != 1 || d.Lineage == first.Lineage {
			t.Errorf("stored: %+v", d)
		}
		time.Sleep(time.Minute)
		wantKey(t, other, "given")
		// Again, and after a renewal: configuration management does so at each deploy.
		before := stored(t, store)
		if err := other.Adopt(t.Context(), key("given")); err != nil || stored(t, store).Lineage != before.Lineage {
			t.Errorf("the stored key: %v", err)
		}
		if err := source.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := stored(t, store)
		for range 2 {
			if err := other.Adopt(t.Context(), key("given")); err != nil || stored(t, store).Key != after.Key {
				t.Errorf("the key that was renewed: %v", err)
			}
		}
		if err := source.Adopt(t.Context(), key("Bearer x")); !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("a key that cannot be sent: %v", err)
		}
	})
}

// An adoption while a renewal is under way: the renewed key is dropped, since the given one works.
func TestAdoptDuringARenewal(t *testing.T) {
	for _, given := range []string{"given", stubFirst} {
		synctest.Test(t, func(t *testing.T) {
			server, store, source := advisory(t, nil)
			server.mu.Lock()
			server.add("given")
			server.mu.Unlock()
			server.keepOld = true
			other := opened(t, server, store)
			server.fault = hang(5 * time.Second)
			renewed := make(chan error, 1)
			go func() { renewed <- source.RenewIfDue(t.Context()) }()
			time.Sleep(time.Second)
			if err := other.Adopt(t.Context(), key(given)); err != nil {
				t.Errorf("%s: %v", given, err)
			}
			if err := <-renewed; err != nil {
				t.Errorf("%s: %v", given, err)
			}
			time.Sleep(2 * time.Minute)
			want := "given"
			if given == stubFirst {
				want = "key-1" // it was the stored one: nothing changes, and the renewal goes on
			}
			wantKey(t, source, want)
			wantKey(t, other, want)
		})
	}
}

// When the key in use is lost, any key that works is taken, even one that it has replaced.
func TestAdoptWhenLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source := opened(t, server, store)
		if err := source.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		server.revoke(stubFirst)
		for range 3 {
			_ = source.Check(t.Context())
			time.Sleep(time.Minute)
		}
		if !source.Status().Lost {
			t.Fatal("it is not lost")
		}
		if err := source.Adopt(t.Context(), key(stubFirst)); err != nil {
			t.Fatal(err)
		}
		wantKey(t, source, stubFirst)
		if stored(t, store).Key != key(stubFirst) || source.Status().Lost {
			t.Errorf("%+v", source.Status())
		}
	})
}

// The initial key that differs from the stored one is warned of, and tried once that is lost.
func TestAnotherInitialKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		var log strings.Builder
		source := opened(t, server, store)
		if err := source.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = opened(t, server, store, logTo(&log)) // the same one, for ever
		if log.Len() > 0 {
			t.Errorf("the same initial key: %s", &log)
		}
		server.mu.Lock()
		server.add("another")
		server.mu.Unlock()
		late := opened(t, server, store, logTo(&log), WithInitialToken(key("another")))
		if !strings.Contains(log.String(), "is not the stored one") || strings.Contains(log.String(), "another\"") {
			t.Errorf("another initial key: %s", &log)
		}
		wantKey(t, late, "key-1")
		server.revoke("another")
		for range 5 {
			_, _ = get(t, late, server, http.MethodGet)
			time.Sleep(time.Minute)
		}
		wantKey(t, late, "another")
		if d := stored(t, store); d.Key != key("another") || d.EnterpriseID != stubEnterprise {
			t.Errorf("stored: %+v", d)
		}
		time.Sleep(time.Minute)
		wantKey(t, source, "another")
	})
}

// A follower writes nothing and renews nothing.
func TestReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), &faulty{Store: Memory()}
		leader := opened(t, server, store)
		written := false
		store.set(nil, func([]byte) error { written = true; return nil })
		follower := opened(t, server, store, ReadOnly())
		for name, err := range map[string]error{
			"Renew": follower.Renew(t.Context()), "Adopt": follower.Adopt(t.Context(), key("x")),
		} {
			if !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: %v", name, err)
			}
		}
		d := stored(t, store)
		if _, err := follower.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("RenewToken: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.Sleep(79 * day)
		go func() { _ = follower.Run(ctx) }()
		time.Sleep(day)
		if err := follower.RenewIfDue(t.Context()); err != nil {
			t.Error(err)
		}
		if n := server.counted("renew"); n != 0 || written {
			t.Errorf("%d renewals, written %v", n, written)
		}
		wantKey(t, follower, stubFirst)
		if err := leader.RenewIfDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		status, err := get(t, follower, server, http.MethodGet)
		if status != 200 || err != nil {
			t.Errorf("after the leader's renewal: %d, %v", status, err)
		}
		if _, err := Open(t.Context(), "foo", Memory(), ReadOnly(), WithInitialToken(key("x"))); err == nil {
			t.Error("an empty store, read only: no error")
		}
	})
}

// Renew replaces the key now; RenewToken of a client that uses the source does the same, and returns the new key.
func TestRenewNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, store := newStub(90*day), Memory()
		source, other := opened(t, server, store), opened(t, server, store)
		if err := source.Renew(t.Context()); err != nil || stored(t, store).Key != key("key-1") {
			t.Fatal(err)
		}
		d := stored(t, store)
		renewed, err := source.Client().RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID})
		if err != nil || renewed.Token != key("key-2") || stored(t, store).Key != key("key-2") || renewed.ExpiresAt.IsZero() {
			t.Errorf("RenewToken: %+v, %v", renewed, err)
		}
		wantKey(t, source, "key-2")
		if _, err := source.Client().RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: d.DeveloperAppID, DeveloperAppID: d.DeveloperAppID}); !errors.Is(err, esper.ErrInvalidArgument) {
			t.Errorf("RenewToken for another enterprise: %v", err)
		}
		// Two at once are one renewal.
		server.fault = hang(5 * time.Second)
		done := make(chan error, 2)
		for _, s := range []*Source{source, other} {
			go func() { done <- s.Renew(t.Context()) }()
		}
		if a, b := <-done, <-done; a != nil || b != nil || server.counted("renewed") != 3 {
			t.Errorf("%v, %v, %d renewals", a, b, server.counted("renewed"))
		}
		server.fault = only("renew", fails(500))
		var failed *esper.RenewalError
		if _, err := source.RenewToken(t.Context(), esper.RenewRequest{EnterpriseID: d.EnterpriseID, DeveloperAppID: d.DeveloperAppID}); !errors.As(err, &failed) || failed.Outcome != esper.OutcomeUnknown {
			t.Errorf("RenewToken without an answer: %v", err)
		}
	})
}
