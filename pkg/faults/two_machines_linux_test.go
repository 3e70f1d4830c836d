//go:build machines

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// Two machines run esper-key, with one PostgreSQL between them and clocks eleven minutes apart. In each round the key
// is due on both, and something befalls one of them. Afterwards the store and both machines have the server's newest
// key. The key was not renewed twice, unless a machine that was stopped sent what it had begun. It is lost only if a
// machine was killed or cut off between the arrival of its renewal and the save.
//
// The clocks of all processes are put forward together: far to the next renewal, and in steps that are shorter than the
// margin of an attempt while machines wait. The network keeps real time.
func TestTwoMachines(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("RENEWALS"))
	must(err)
	seed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("SEED=%d", seed)
	l := newLab(t, rand.New(rand.NewPCG(seed, 0)))
	for n := 1; n <= rounds && !t.Failed(); n++ {
		l.round(n)
	}
	for _, h := range l.hosts {
		must(h.run.Process.Signal(syscall.SIGTERM))
		if err := h.run.Wait(); err != nil {
			t.Errorf("%s ended with %v", h.name, err)
		}
	}
	t.Logf("%d renewals arrived, %d of them for the second time; %d keys lost", l.arrived, l.twice, l.lost)
}

// lab is the two machines, and what they reach.
type lab struct {
	t      *testing.T
	random *rand.Rand
	clock  *atomic.Int64 // nanoseconds that were put forward
	server *espertest.Server
	env    []string // of esper-key
	hosts  [2]*keeper

	arrived, twice, lost int

	acting atomic.Int64 // renewals that have arrived and are not answered

	mu    sync.Mutex
	posts []post // that arrived in this round
	fault *trouble
}

// keeper is a machine that runs esper-key.
type keeper struct {
	*machine
	name  string
	ahead string // seconds
	token string // the file of --write-token
	log   string // a file
	run   *exec.Cmd
	away  atomic.Bool // killed, stopped or cut off
}

// post is a renewal that arrived.
type post struct {
	from     *keeper
	key      string
	at       time.Time
	accepted time.Time // when its connection was
}

// trouble is what befalls a host in a round.
type trouble struct {
	kind, moment string
	acts         int           // milliseconds that the server takes for the renewal, in real time
	wait         time.Duration // after the moment
	lasts        time.Duration // that the clocks are put forward meanwhile
	host         *keeper
	begins, ends time.Time
	begun        chan struct{} // has a value once it has begun
}

const (
	kill, stop, cut = "kill -9", "SIGSTOP", "network cut"

	atAny, atArrival = "at any moment", "when the renewal has arrived"
	atAct, atAnswer  = "when the server has acted", "after the answer"
)

func (f *trouble) String() string {
	length := "short"
	if f.lasts > 0 {
		length = "past the attempt"
	}
	return fmt.Sprintf("%s, %s, %s", f.kind, length, f.moment)
}

func (l *lab) choose() *trouble {
	pick := func(all ...string) string { return all[l.random.IntN(len(all))] }
	f := &trouble{begun: make(chan struct{}, 1)}
	f.kind, f.moment = pick(kill, stop, cut), pick(atAny, atArrival, atAct, atAnswer)
	if f.moment == atAny || f.moment == atAnswer {
		f.wait = time.Duration(l.random.IntN(60)) * time.Millisecond
	}
	if l.random.IntN(2) == 0 {
		f.acts = 200 + l.random.IntN(600)
	}
	if l.random.IntN(2) == 0 {
		f.lasts = time.Duration(100+l.random.IntN(60)) * time.Second
	}
	return f
}

// round has one renewal, with a fault.
func (l *lab) round(n int) {
	const almostDue = 73 * 24 * time.Hour // on both machines: of 90 days
	before, f := l.server.Token(), l.choose()
	l.mu.Lock()
	l.posts, l.fault = nil, f
	l.mu.Unlock()
	l.forward(almostDue)
	if f.moment == atAny {
		f.host = l.hosts[l.random.IntN(2)]
		l.begin(f)
	}
	l.until(n, "the fault", func() bool { return len(f.begun) > 0 })
	for end := time.Now().Add(f.lasts); time.Now().Before(end); {
		l.step()
	}
	short := f.kind == cut && f.lasts == 0
	if short {
		<-time.After(time.Duration(500+l.random.IntN(2000)) * time.Millisecond)
	}
	l.end(f)
	for waits := 0; short && waits < 50 && !l.everywhere(l.server.Token()); waits++ {
		<-time.After(100 * time.Millisecond) // TCP sends again what was cut off, in real time
	}
	l.until(n, "the new key everywhere", func() bool {
		return l.server.Token() != before && l.everywhere(l.server.Token()) || l.isLost()
	})
	l.judge(n, f)
	if l.isLost() {
		l.adopt(n)
	}
}

// judge looks for what must not have happened.
func (l *lab) judge(n int, f *trouble) {
	const form = "15:04:05.000"
	l.mu.Lock()
	defer l.mu.Unlock()
	story := fmt.Sprintf("round %d: %s, %s from %s to %s; renewals arrived:",
		n, f, f.host.name, f.begins.Format(form), f.ends.Format(form))
	first, cause := make(map[string]bool), false
	for _, p := range l.posts {
		story += fmt.Sprintf(" %s from %s", p.at.Format(form), p.from.name)
		if first[p.key] {
			l.twice++
			story += " (again)"
			if f.kind != stop || p.from != f.host || p.at.Before(f.ends) {
				l.t.Error("a renewal was sent again")
			}
		}
		first[p.key] = true
		sent := p.at
		if f.kind == kill { // what it sent before its end may be read after it, over a connection that is older
			sent = p.accepted
		}
		cause = cause || p.from == f.host && f.kind != stop && sent.Before(f.ends)
	}
	l.arrived += len(l.posts)
	isLost := l.isLost()
	if isLost {
		l.lost++
		story += "; the key is lost"
		if !cause {
			l.t.Error("a key was lost without a cause")
		}
	}
	l.t.Log(story)
	if len(l.posts) == 0 {
		l.t.Errorf("%s none", story)
	}
}

// adopt does what an operator does when the key is lost.
func (l *lab) adopt(n int) {
	file := filepath.Join(l.t.TempDir(), "key")
	must(os.WriteFile(file, []byte(l.server.NewKey()), 0o600))
	cmd := l.command(l.hosts[0], "adopt", "--key-file", file)
	ended := make(chan struct{}, 1)
	var out []byte
	var err error
	go func() { out, err = cmd.CombinedOutput(); ended <- struct{}{} }()
	for waits := 0; waits < 100 && len(ended) == 0; waits++ {
		<-time.After(100 * time.Millisecond) // it has nothing to wait for, as a rule
	}
	l.until(n, "the end of adopt", func() bool { return len(ended) > 0 })
	if err != nil {
		l.t.Fatalf("round %d: adopt: %v: %s", n, err, out)
	}
	l.until(n, "the adopted key everywhere", func() bool { return l.everywhere(l.server.Token()) && !l.isLost() })
}

// step lets the processes work, and puts the clocks forward by less than Margin of an attempt.
func (l *lab) step() {
	<-time.After(200 * time.Millisecond)
	l.forward(4 * time.Second)
}

// forward puts the clocks forward, once the server and the processes answer: the time limit of a renewal must not be over
// because the machine of this test is busy, nor that of a process that was just started.
func (l *lab) forward(d time.Duration) {
	for l.acting.Load() > 0 {
		<-time.After(10 * time.Millisecond)
	}
	for _, h := range l.hosts {
		for over := time.Now().Add(time.Minute); !h.away.Load(); <-time.After(50 * time.Millisecond) {
			if _, err := l.metrics(h); err == nil {
				break
			} else if time.Now().After(over) {
				l.fatal("%s does not answer: %v", h.name, err)
			}
		}
	}
	l.clock.Add(int64(d))
}

// until takes steps until there is what the round waits for.
func (l *lab) until(n int, what string, there func() bool) {
	const most = 2000 // steps: two hours by the clocks
	for range most {
		if there() {
			return
		}
		l.step()
	}
	l.fatal("round %d, %s: %s did not come", n, l.fault, what)
}

func (l *lab) fatal(format string, args ...any) {
	for _, h := range l.hosts {
		text, _ := os.ReadFile(h.log)
		l.t.Logf("%s:\n%s", h.name, text[max(0, len(text)-4000):])
	}
	l.t.Fatalf(format, args...)
}

// begin begins a fault, after its wait.
func (l *lab) begin(f *trouble) {
	<-time.After(f.wait)
	f.begins = time.Now()
	f.host.away.Store(true)
	switch f.kind {
	case kill:
		must(f.host.run.Process.Kill())
	case stop:
		must(f.host.run.Process.Signal(syscall.SIGSTOP))
	case cut:
		f.host.cut()
	}
	f.begun <- struct{}{}
}

func (l *lab) end(f *trouble) {
	f.ends = time.Now()
	switch f.kind {
	case kill:
		_ = f.host.run.Wait()
		f.ends = time.Now()
		l.start(f.host)
	case stop:
		must(f.host.run.Process.Signal(syscall.SIGCONT))
	case cut:
		f.host.heal()
	}
	f.host.away.Store(false)
}

// happened begins the fault of this round if it begins at this moment, which a renewal of h has reached.
func (l *lab) happened(moment string, h *keeper) {
	l.mu.Lock()
	f := l.fault
	now := f != nil && f.moment == moment && f.host == nil
	if now {
		f.host = h
	}
	l.mu.Unlock()
	if now {
		l.begin(f)
	}
}
