package renew_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

// A daemon has Run renew the key, whether or not it makes calls.
func Example_daemon() {
	server := espertest.New() // in place of Esper: here the environment is a tenant name, such as "foo"
	defer server.Close()
	folder, err := os.MkdirTemp("", "esper")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it is a temporary folder

	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext, in a daemon
	defer stop()
	source, err := renew.Open(ctx, server.URL, renew.File(filepath.Join(folder, "key.json")),
		renew.WithInitialToken(esper.NewSecret(server.Token())), // used the first time only
		renew.WithOnRenew(func(s renew.Status) { fmt.Println("expires", s.ExpiresAt, s.LastError) }))
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }() // renew.ErrKeyLost: a person has to make a new key

	client, err := esper.New(server.URL, source)
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := client.TokenInfo(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("key", info.ID, "of", info.User)

	stop()
	fmt.Println(<-ended)
	// Output:
	// key 570 of bindya
	// context canceled
}

// A job that starts, makes its calls and exits needs no Run: the first call begins the renewal when
// it is due, and one Token call before the program exits is enough to begin with. A job that runs
// more often than the advisory window is long (18 days, with a key of 90) never meets an old key.
func Example_cronJob() {
	server := espertest.New()
	defer server.Close()
	store := renew.Memory() // renew.File, in a job: what is in memory ends with it
	ctx := context.Background()

	source, err := renew.Open(ctx, server.URL, store, renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := source.TokenContext(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.TokenType, "key in use, saved:", source.Status().Saved)
	// Output: Bearer key in use, saved: true
}

// Transport authenticates any endpoint of the same server, for which this module has no method.
func ExampleSource_Transport() {
	server := espertest.New()
	defer server.Close()
	ctx := context.Background()
	source, err := renew.Open(ctx, server.URL, renew.Memory(), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		fmt.Println(err)
		return
	}

	client := &http.Client{Transport: source.Transport(nil), Timeout: 30 * time.Second} // not oauth2.NewClient
	path := "/v1/token-info/"                                                           // the fake knows only this; Esper, "/v0/enterprise/{id}/device/", …
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

// shared is what processes have in common: a plain map, in place of a database, with an atomic
// set-if-absent-or-ended for leases, as Redis has in SET NX PX, and Kubernetes in its Lease.
type shared struct {
	mu        sync.Mutex
	documents map[string][]byte
	leases    map[string]lease
}

type lease struct {
	holder *int // who has it
	ends   time.Time
}

// mapStore keeps the contract of renew.Store.
type mapStore struct {
	shared *shared
	name   string
}

func (m mapStore) Load(ctx context.Context) ([]byte, error) {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if document, ok := m.shared.documents[m.name]; ok {
		return append([]byte(nil), document...), ctx.Err() // a copy
	}
	return nil, ctx.Err() // nil: never saved. An error, if that is not certain
}

func (m mapStore) Save(ctx context.Context, document []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	m.shared.documents[m.name] = append([]byte(nil), document...) // replaced as a whole
	return nil
}

func (m mapStore) Lock(ctx context.Context) (unlock func(), err error) {
	const length = 5 * time.Minute // longer than a Source holds it; a process that dies frees it so
	for me := new(int); ; {
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(errors.New("waiting for the lease"), err)
		}
		if m.acquire(me, length) {
			return func() { m.release(me) }, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (m mapStore) acquire(me *int, length time.Duration) bool {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if l := m.shared.leases[m.name]; l.holder != nil && time.Now().Before(l.ends) {
		return false
	}
	m.shared.leases[m.name] = lease{me, time.Now().Add(length)}
	return true
}

// release frees the lease if it is still this holder's; it may be called twice.
func (m mapStore) release(me *int) {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.shared.leases[m.name].holder == me {
		delete(m.shared.leases, m.name)
	}
}

func newShared() *shared {
	return &shared{documents: make(map[string][]byte), leases: make(map[string]lease)}
}

// A store of one's own is three methods; storetest checks them.
func ExampleStore() {
	server := espertest.New()
	defer server.Close()
	ctx, everybody := context.Background(), newShared()
	for range 2 { // two processes; the second finds the key of the first
		source, err := renew.Open(ctx, server.URL, mapStore{everybody, "esper"}, renew.WithInitialToken(esper.NewSecret(server.Token())))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("saved:", source.Status().Saved)
	}
	fmt.Println("requests:", len(server.Requests()))
	// Output:
	// saved: true
	// saved: true
	// requests: 1
}

func TestMapStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() renew.Store {
		everybody := newShared()
		return func() renew.Store { return mapStore{everybody, "esper"} }
	})
}
