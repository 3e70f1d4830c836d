//go:build linux

package stores

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
	"github.com/esper-go/esper-go/pkg/internal/published"
)

// TestProcessesRenewOnce has twenty processes renew one key at the same time, fifty times. One process sends the
// renewal, and the others take over the new key. In each round one process is killed, and a new one takes its place.
func TestProcessesRenewOnce(t *testing.T) {
	const rounds, number = 50, 20
	on(t, stores+" PgBouncer", func(t *testing.T, e *engine) {
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
		report(e, "20 processes, 50 rounds, one killed in each", rounds, rounds, longest)
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
			answer = c.Ask("open " + server.Token()) // a test before this one may have killed the engine
		}
		if answer != "key "+server.Token() {
			t.Fatalf("process %d: %s", i, answer)
		}
	}
	return all
}

// makeDue has the key in a store end in a day.
func makeDue(t *testing.T, store renew.Store) {
	t.Helper()
	eventually(t, func() error { // an engine may still carry out a statement of a program that has ended
		document, version, err := store.Load(t.Context())
		must(t, err)
		var d map[string]any
		must(t, json.Unmarshal(document, &d))
		d["issued_at"], d["expires_at"] = time.Now().Add(-80*24*time.Hour), time.Now().Add(24*time.Hour)
		delete(d, "renewed_at")
		document, err = json.Marshal(d)
		must(t, err)
		_, err = store.Save(t.Context(), document, version)
		return err
	})
}

// TestExamples ends the example of each store in the middle of a renewal, in each way. The store then has the server's
// key.
func TestExamples(t *testing.T) {
	inSQL := published.Example(t, "../esper/renew/sqlstore/example_test.go", "ExampleNew")
	inSecret := published.Example(t, "../esper/renew/kubestore/example_test.go", "ExampleNew")
	folder := published.Build(t, map[string]string{
		"sql": strings.NewReplacer("package main\n", "package main\nimport _ \"github.com/jackc/pgx/v5/stdlib\"\n",
			`"host=db1,db2 dbname=ops target_session_attrs=read-write"`, `os.Getenv("DATABASE_URL")`).Replace(inSQL),
		"kubernetes": strings.NewReplacer(`Secrets("fleet")`, `Secrets("example")`, "rest.InClusterConfig()", // in place of a pod's settings
			`&rest.Config{Host: os.Getenv("API_SERVER"), BearerToken: "fleet", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, error(nil)`).Replace(inSecret),
	})
	e := get(t, "PostgreSQL")
	example(t, filepath.Join(folder, "sql"), e.at("fleet"), "DATABASE_URL="+e.dsn(e.root, e.listens))
	e = get(t, "Kubernetes")
	e.apply(t, "", "{apiVersion: v1, kind: Namespace, metadata: {name: example}}")
	e.apply(t, "example", strings.Replace(read(t, "../esper/renew/kubestore/role.yaml"), "kind: ServiceAccount\n", "kind: User\n", 1)) // of a user without a pod
	until(t, "the role gives the rights to get and update one Secret", func() bool { return rights(t, e, "fleet", "example") == "[get update] [esper-key]" })
	example(t, filepath.Join(folder, "kubernetes"), strings.Replace(e.at("esper-key"), "/fleet", "/example", 1), "API_SERVER=https://"+e.listens)
}

func example(t *testing.T, program, address, env string) {
	t.Helper()
	server := newServer(t)
	startAll(t, server, address, 1)[0].Kill() // which has saved the key
	store := storeAt(t, address)
	server.FailOperation("renewToken", -1, espertest.Fault{Delay: time.Second, Handled: true})
	for i, ending := range published.Endings() {
		makeDue(t, store)
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), env)
		life := published.Life{Server: server, Cmd: cmd, Ending: ending, Before: i}
		out := life.Live(t)
		document, _, err := store.Load(t.Context())
		must(t, err)
		if n := processes.Posts(server); n != i+1 || !strings.Contains(string(document), `"`+server.Token()+`"`) {
			t.Errorf("%v: after %d renewals, want %d, the key is lost\n%s", life, n, i+1, out)
		}
	}
}

// TestChild is the main program of the processes that tests start.
func TestChild(*testing.T) { processes.Main(open) }

// newServer starts a fake Esper server that also answers the calls to processes.Devices.
func newServer(t *testing.T) *espertest.Server {
	t.Helper()
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	return espertest.NewServer(t, espertest.WithHandler("GET "+processes.Devices, fine))
}

// fault is something that happens between the processes and the engine, or to the engine, and ends.
type fault struct {
	name       string
	to, from   way // the network to the engine, and from it
	cut        bool
	begin, end func(t *testing.T, e *engine) // what happens to the engine itself
	lasts      time.Duration
}

// network returns the faults of the network between processes and engine.
func network() []fault {
	const seconds = 4 * time.Second
	slow, nothing := way{delay: 700 * time.Millisecond}, way{broken: true, silent: true}
	return []fault{
		{name: "connections cut, none accepted", cut: true, lasts: seconds},
		{name: "primary gone for two minutes", cut: true, lasts: 2 * time.Minute},
		{name: "nothing gets to the engine", to: nothing, lasts: seconds},
		{name: "nothing comes from the engine", from: nothing, lasts: seconds},
		{name: "each way takes 0.7 s more", to: slow, from: slow, lasts: seconds},
		{name: "cut in the middle of a statement", to: way{broken: true, passes: 1 + rand.N(900)}, lasts: seconds},
		{name: "cut in the middle of an answer", from: way{broken: true, passes: rand.N(900)}, lasts: seconds},
	}
}

// trouble returns the faults of the engine itself.
func trouble() []fault {
	again := func(t *testing.T, e *engine) { e.start(t) }
	return []fault{
		{name: "engine killed (kill -9), back after 1 s", begin: func(_ *testing.T, e *engine) { e.kill() }, end: again, lasts: time.Second},
		{name: "engine restarted in an orderly way (SIGTERM)", begin: func(_ *testing.T, e *engine) { e.server().end() }, end: again, lasts: time.Second},
		{
			name: "engine hangs for 4 s (SIGSTOP)", begin: func(_ *testing.T, e *engine) { e.signal(syscall.SIGSTOP) },
			end: func(_ *testing.T, e *engine) { e.signal(syscall.SIGCONT) }, lasts: 4 * time.Second,
		},
	}
}

// The moments at which a fault begins.
const (
	atJournal = "before the attempt is noted in the store"
	atPost    = "while the renewal is under way, before the server acts"
	atSave    = "after the server has replaced the key, before the new one arrives"
)

var moments = []string{atJournal, atPost, atSave}

// TestChaos brings about each fault at each moment of a renewal, on each engine. Faults of the network come to tests beside
// each other, and those of the engine itself after them, one by one.
func TestChaos(t *testing.T) {
	t.Parallel()
	on(t, servers, func(t *testing.T, e *engine) {
		t.Run("network", func(t *testing.T) {
			for _, f := range network() {
				for _, moment := range moments {
					t.Run(f.name+", "+moment, func(t *testing.T) { t.Parallel(); befall(t, e, f, moment) })
				}
			}
		})
		for _, f := range trouble() {
			for _, moment := range moments {
				t.Run(f.name+", "+moment, func(t *testing.T) { befall(t, e, f, moment) })
			}
		}
		t.Run("killed after a save", func(t *testing.T) { confirmedIsKept(t, e) })
	})
}

// confirmedIsKept kills an engine directly after a save, several times. The engine must still have the confirmed
// document. PostgreSQL is told not to wait for its disk: the store has to make it wait.
func confirmedIsKept(t *testing.T, e *engine) {
	const kills = 5
	store, version := storeAt(t, strings.Replace(e.fresh(t), "sslmode=disable", "sslmode=disable&synchronous_commit=off", 1)), ""
	for i := range kills {
		document := strings.Repeat("x", 100+i)
		next, err := store.Save(t.Context(), []byte(document), version)
		e.kill()
		must(t, err)
		e.start(t)
		got, now := load(t, store)
		if string(got) != document || now != next {
			t.Fatalf("kill %d: the store has %q with %d bytes; %q was confirmed", i, now, len(got), next)
		}
		version = next
	}
	report(e, "engine killed (kill -9) directly after a save was confirmed", kills, 0, 0)
}

// befall has processes renew a key during a fault. It checks that no key that arrived is lost, that no process repeats
// a renewal before it has asked the server about the first one, and that all processes have the new key afterwards.
func befall(t *testing.T, e *engine, f fault, moment string) {
	const number, longest = 3, 3 * time.Minute
	server := newServer(t)
	r := relayTo(t, e.listens, nil)
	name := newName()
	all := startAll(t, server, e.via(r.listens).at(name), number)
	begin := func() {
		r.set(f.to, f.from)
		if f.cut {
			r.stop()
		}
		if f.begin != nil {
			f.begin(t, e)
		}
	}
	if moment == atJournal {
		begin()
	} else {
		server.FailOperation("renewToken", 1, espertest.Fault{Delay: time.Second, Handled: moment == atSave})
	}
	for _, c := range all {
		c.Tell("renew")
	}
	if moment != atJournal {
		until(t, "a process has sent a renewal", func() bool { return processes.Posts(server) > 0 })
		begin()
	}
	<-time.After(f.lasts)
	r.set(way{}, way{})
	if f.cut || f.to.silent || f.from.silent { // connections in which something was lost end
		r.stop()
		r.start(t)
	}
	if f.end != nil {
		f.end(t, e)
	}
	healed := time.Now()
	var wait sync.WaitGroup
	for i, c := range all {
		wait.Go(func() {
			answer := c.Hear()
			for ; processes.Posts(server) == 0 || answer != "key "+server.Token(); <-time.After(50 * time.Millisecond) {
				if strings.HasPrefix(answer, "lost") || time.Since(healed) > longest {
					t.Errorf("process %d has no working key %v after the fault: %s", i, time.Since(healed), answer)
					return
				}
				command := "call"
				if processes.Posts(server) == 0 {
					command = "renew" // the processes could not begin a renewal without the store
				}
				answer = c.Ask(command)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	took := time.Since(healed)
	processes.NoSecondPost(t, server)
	n := processes.Posts(server)
	if n > 1 && f.lasts < time.Minute {
		t.Errorf("%d renewals, want one", n)
	}
	if document, _ := load(t, storeAt(t, e.at(name))); !strings.Contains(string(document), `"`+server.Token()+`"`) {
		t.Error("the store does not have the new key")
	}
	report(e, f.name, 1, n, took)
}
