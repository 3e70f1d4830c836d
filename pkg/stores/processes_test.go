//go:build linux

package stores

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestProcessesRenewOnce has twenty processes renew one key at the same time, fifty times. One process sends the
// renewal, and the others take over the new key. In each round one process is killed, and a new one takes its place.
func TestProcessesRenewOnce(t *testing.T) {
	const rounds = 50
	on(t, func(t *testing.T, e *engine) {
		number := 20
		if e.name == "PgBouncer" {
			number = 8
		}
		server := newServer(t)
		address := e.fresh(t)
		all := make([]*processes.Process, number)
		for i := range all {
			all[i] = processes.Start(t, server, address, server.Token())
		}
		for i, c := range all {
			if answer := c.Hear(); answer != "key "+server.Token() {
				t.Fatalf("process %d: %s", i, answer)
			}
		}
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
	}, "PgBouncer")
}

// TestKilledAtRandom kills processes that do nothing but renew, at random moments. The server keeps old keys, so after
// each kill a new process can find a working key and renew it.
func TestKilledAtRandom(t *testing.T) {
	const kills = 15
	on(t, func(t *testing.T, e *engine) {
		server := newServer(t, espertest.KeepOldKey())
		address := e.fresh(t)
		store, err := open(address)
		must(t, err)
		if answer := processes.Start(t, server, address, server.Token()).Hear(); !strings.HasPrefix(answer, "key ") {
			t.Fatal(answer)
		}
		for n := range kills {
			server.FailOperation("renewToken", -1, espertest.Fault{Delay: rand.N(30 * time.Millisecond), Handled: n%2 == 0})
			killSome(t, server, address)
			server.FailOperation("renewToken", 0, espertest.Fault{})
			edit(t, store, halfADayLater)
			c := processes.Start(t, server, address, "")
			c.Hear()
			if answer := c.Ask("renew"); answer != "key "+server.Token() {
				t.Fatalf("kill %d: %s", n, answer)
			}
			processes.NoSecondPost(t, server)
			c.Kill()
		}
		if n := processes.Posts(server); n < kills+3 {
			t.Errorf("%d renewals: hardly any process was killed during a renewal", n)
		}
		report(e, "3 processes that only renew, killed at any moment", kills, processes.Posts(server), 0)
	})
}

// killSome starts processes that renew all the time, and kills each after a random time.
func killSome(t *testing.T, server *espertest.Server, address string) {
	t.Helper()
	const number, longest = 3, 60 * time.Millisecond
	var all sync.WaitGroup
	for range number {
		c := processes.Start(t, server, address, "")
		c.Hear()
		c.Tell("loop")
		all.Go(func() {
			<-time.After(rand.N(longest))
			c.Kill()
		})
	}
	all.Wait()
}

// halfADayLater changes a document so that the next process need not wait until an attempt is over: the key was refused
// half a day ago in place of the attempt, so that the process asks the server.
func halfADayLater(d map[string]any) {
	if d["attempt"] != nil || d["refused_at"] != nil {
		d["refused_at"] = time.Now().Add(-13 * time.Hour)
		delete(d, "attempt")
	}
}
