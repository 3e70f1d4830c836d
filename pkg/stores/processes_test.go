//go:build linux

package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestProcessesRenewOnce has twenty processes renew one key at the same time, fifty times. One process sends the
// renewal, and the others take over the new key. In each round one process is killed, and a new one takes its place.
func TestProcessesRenewOnce(t *testing.T) {
	const rounds = 50
	on(t, stores+" PgBouncer", func(t *testing.T, e *engine) {
		number := 20
		if e.name == "PgBouncer" {
			number = 8
		}
		server := newServer(t)
		address := e.fresh(t)
		all := startAll(t, server, address, number)
		var longest time.Duration
		for round := range rounds {
			began := time.Now()
			for _, c := range all {
				c.Tell("renew")
			}
			victim := rand.N(number)
			for i, c := range all {
				if answer := c.Hear(); answer != "key "+server.Token() {
					t.Fatalf("round %d, process %d: %s", round, i, answer)
				}
				if i == victim { // while other processes may not have the new key yet
					c.Kill()
				}
			}
			longest = max(longest, time.Since(began))
			if n := processes.Posts(server); n != round+1 {
				t.Fatalf("%d renewals after %d rounds", n, round+1)
			}
			all[victim] = processes.Start(t, server, address, "")
			if answer := all[victim].Hear(); answer != "key "+server.Token() {
				t.Fatalf("round %d, a new process: %s", round, answer)
			}
		}
		report(e, fmt.Sprintf("%d processes, 50 rounds, one killed in each", number), rounds, rounds, longest)
	})
}

// startAll starts processes that open the store at an address, with the server's key.
func startAll(t *testing.T, server *espertest.Server, address string, number int) []*processes.Process {
	t.Helper()
	all := make([]*processes.Process, number)
	for i := range all {
		all[i] = processes.Start(t, server, address, server.Token())
	}
	for i, c := range all {
		answer := c.Hear()
		for over := time.Now().Add(startTime); strings.HasPrefix(answer, "error") && time.Now().Before(over); <-time.After(100 * time.Millisecond) {
			answer = c.Ask("open " + server.Token()) // a test beside this one may have killed the engine
		}
		if answer != "key "+server.Token() {
			t.Fatalf("process %d: %s", i, answer)
		}
	}
	return all
}

// due makes the key of a document end in a day.
func due(d map[string]any) {
	d["issued_at"], d["expires_at"] = time.Now().Add(-80*24*time.Hour), time.Now().Add(24*time.Hour)
	delete(d, "renewed_at")
}

// edit changes the document in a store. If an engine still carries out a statement of a killed process, edit begins
// again: whatever comes after its save is a conflict.
func edit(t *testing.T, store renew.Store, change func(map[string]any)) {
	t.Helper()
	for err := renew.ErrConflict; errors.Is(err, renew.ErrConflict); {
		document, version, loadErr := store.Load(t.Context())
		must(t, loadErr)
		var d map[string]any
		must(t, json.Unmarshal(document, &d))
		change(d)
		document, err = json.Marshal(d)
		must(t, err)
		if _, err = store.Save(t.Context(), document, version); !errors.Is(err, renew.ErrConflict) {
			must(t, err)
		}
	}
}

// TestChild is the main program of the processes that tests start.
func TestChild(*testing.T) { processes.Main(open) }

// newServer starts a fake Esper server that also answers the calls to processes.Devices.
func newServer(t *testing.T, opts ...espertest.Option) *espertest.Server {
	t.Helper()
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	return espertest.NewServer(t, append(opts, espertest.WithHandler("GET "+processes.Devices, fine))...)
}
