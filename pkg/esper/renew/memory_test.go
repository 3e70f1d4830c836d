package renew_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

func TestMemoryKeepsContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() renew.Store {
		s := renew.Memory()
		return func() renew.Store { return s }
	})
}

func TestMemoryStoresAreApart(t *testing.T) {
	one, other := renew.Memory(), renew.Memory()
	if err := one.Save(t.Context(), []byte("document")); err != nil {
		t.Fatal(err)
	}
	if document, err := other.Load(t.Context()); document != nil || err != nil {
		t.Errorf("another Memory holds %q, %v", document, err)
	}
	unlock, err := one.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	unlock, err = other.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestMemoryIsShared opens two sources on one store: the second needs no key of its own.
func TestMemoryIsShared(t *testing.T) {
	server, store := espertest.NewServer(t), renew.Memory()
	if _, err := renew.Open(t.Context(), server.URL, store); !errors.Is(err, esper.ErrInvalidArgument) {
		t.Errorf("Open with an empty store and no key: %v", err)
	}
	if _, err := renew.Open(t.Context(), server.URL, store, renew.WithInitialToken(esper.NewSecret(server.Token()))); err != nil {
		t.Fatal(err)
	}
	second, err := renew.Open(t.Context(), server.URL, store)
	if err != nil {
		t.Fatal(err)
	}
	token, err := second.Token()
	if err != nil || token.AccessToken != server.Token() {
		t.Errorf("Token: %v; the right key: %v", err, err == nil && token.AccessToken == server.Token())
	}
}

// failing is a store whose methods fail where errors are set, as a disk does that is full or
// read-only.
type failing struct {
	renew.Store
	load, save, lock error
}

func (f *failing) Load(ctx context.Context) ([]byte, error) {
	if f.load != nil {
		return nil, f.load
	}
	return f.Store.Load(ctx)
}

func (f *failing) Save(ctx context.Context, document []byte) error {
	if f.save != nil {
		return f.save
	}
	return f.Store.Save(ctx, document)
}

func (f *failing) Lock(ctx context.Context) (func(), error) {
	if f.lock != nil {
		return nil, f.lock
	}
	return f.Store.Lock(ctx)
}

// TestOpenFailingStore opens a source on a store that fails at each method.
func TestOpenFailingStore(t *testing.T) {
	cause := errors.New("read-only file system")
	for name, store := range map[string]*failing{
		"load": {load: cause}, "save": {save: cause}, "lock": {lock: cause},
	} {
		t.Run(name, func(t *testing.T) {
			server := espertest.NewServer(t)
			store.Store = renew.Memory()
			_, err := renew.Open(t.Context(), server.URL, store, renew.WithInitialToken(esper.NewSecret(server.Token())))
			if !errors.Is(err, cause) {
				t.Fatalf("Open: %v, want %v", err, cause)
			}
			if strings.Contains(err.Error(), server.Token()) {
				t.Error("the error holds the key")
			}
			for _, r := range server.Requests() {
				if r.Method != "GET" {
					t.Errorf("%s was sent", r.Method)
				}
			}
			if unlock, err := store.Store.Lock(t.Context()); err != nil {
				t.Error(err) // Open left it locked
			} else {
				unlock()
			}
		})
	}
}
