package renew

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// What a child process is told in its environment: where to work, and at which step to stop.
const childServer, childPath, childStep = "RENEW_TEST_SERVER", "RENEW_TEST_PATH", "RENEW_TEST_STEP"

// TestChild is the main program of a child process: it answers each line of its input with one.
func TestChild(t *testing.T) {
	server := os.Getenv(childServer)
	if server == "" {
		return // this is the parent
	}
	store := File(os.Getenv(childPath))
	if step := os.Getenv(childStep); step != "" {
		store = &stepStore{file: store.(file), stop: step}
	}
	var s *Source
	var err error
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, key, _ := strings.Cut(in.Text(), " ")
		answer := "done"
		switch command {
		case "open":
			if s, err = Open(t.Context(), server, store, WithInitialToken(esper.NewSecret(key))); err != nil {
				answer = "error " + err.Error()
			}
		case "token":
			answer = tokenLine(s)
		case "renew":
			makeDue(s)
			answer = tokenLine(s)
		case "step":
			<-s.step()
			answer = tokenLine(s)
		case "loop":
			for {
				makeDue(s)
				_, _ = s.Token()
			}
		}
		fmt.Println(strings.ReplaceAll(answer, "\n", "; "))
	}
	os.Exit(0)
}

func tokenLine(s *Source) string {
	token, err := s.Token()
	switch {
	case errors.Is(err, ErrKeyLost):
		return "lost " + err.Error()
	case err != nil:
		return "error " + err.Error()
	}
	return "key " + token.AccessToken
}

// makeDue makes s take the key that it knows for one whose last minutes have begun.
func makeDue(s *Source) {
	h, now := *s.current.Load(), time.Now()
	h.advisory, h.mandatory, h.next = now, now, now
	s.set(&h)
}

// child is a process that runs TestChild.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	err bytes.Buffer
	in  io.WriteCloser
	out *bufio.Reader
}

// startChild starts one. It ends with the test, if not before.
func startChild(t *testing.T, server *espertest.Server, path, step string) *child {
	const longest = 2 * time.Minute
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	c := &child{t: t, cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$")}
	c.cmd.Env = append(os.Environ(), childServer+"="+server.URL, childPath+"="+path, childStep+"="+step)
	c.cmd.Stderr = &c.err
	in, inErr := c.cmd.StdinPipe()
	out, outErr := c.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, c.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c.in, c.out = in, bufio.NewReader(out)
	t.Cleanup(func() { c.kill(); cancel() })
	return c
}

func (c *child) tell(command string) {
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Errorf("telling the child: %v", err)
	}
}

func (c *child) hear() string {
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Errorf("hearing the child: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *child) ask(command string) string { c.tell(command); return c.hear() }

// kill is kill -9.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // it says that it was killed
		if c.err.Len() > 0 {
			c.t.Errorf("the child says:\n%s", &c.err) // of a data race, for example
		}
	}
}

// family is many children on one file, which is read all the time.
type family []*child

func startFamily(t *testing.T, server *espertest.Server, n int) family {
	path := filepath.Join(t.TempDir(), "esper", "key.json")
	all := make(family, n)
	for i := range all {
		all[i] = startChild(t, server, path, "")
	}
	for i, answer := range all.ask("open " + server.Token()) {
		if answer != "done" {
			t.Fatalf("process %d: %s", i, answer)
		}
	}
	if n := len(server.Requests()); n != 1 {
		t.Errorf("%d requests for %d processes to start, want 1: the first tells the others", n, len(all))
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for reads := 1; ; reads++ {
			data, err := File(path).Load(context.Background()) // more patient than os.ReadFile, on Windows
			if err == nil {
				_, err = decode(data, server.URL)
			}
			if err != nil {
				t.Errorf("the file, read for the %d. time: %v", reads, err)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { close(stop); reader.Wait() }) // before the children end and the folder goes
	return all
}

// ask asks all at once.
func (f family) ask(command string) []string {
	answers := make([]string, len(f))
	var all sync.WaitGroup
	for i, c := range f {
		all.Go(func() { answers[i] = c.ask(command) })
	}
	all.Wait()
	return answers
}

// posts returns the keys that were to be renewed, in order.
func posts(server *espertest.Server) (keys []string) {
	for _, r := range server.Requests() {
		if r.Method == "POST" {
			keys = append(keys, r.AccessToken.Reveal())
		}
	}
	return keys
}

// TestProcessesRenewOnce has twenty processes find the key due at the same time, again and again:
// one renews it, the others take the new key over.
func TestProcessesRenewOnce(t *testing.T) {
	const processes, rounds, most = 20, 200, time.Minute // the last for a slow disk
	server := espertest.NewServer(t)
	all := startFamily(t, server, processes)
	start := time.Now()
	round := 0
	for round < rounds && time.Since(start) < most && !t.Failed() {
		round++
		answers := all.ask("renew")
		if n := len(posts(server)); n != round {
			t.Fatalf("%d POSTs after %d rounds", n, round)
		}
		for i, answer := range answers {
			if answer != "key "+server.Token() {
				t.Errorf("round %d, process %d: %s", round, i, answer)
			}
		}
	}
	t.Logf("%d rounds of %d processes in %v", round, processes, time.Since(start).Round(time.Millisecond))
}

// TestProcessesFollowExpiry has processes whose keys become due by the clock: no key is renewed
// twice, none before its time, and all are served all the time.
func TestProcessesFollowExpiry(t *testing.T) {
	const processes, renewals, lifetime = 20, 3, 4 * time.Second
	server := espertest.NewServer(t, espertest.WithLifetime(lifetime))
	all := startFamily(t, server, processes)
	known := []string{server.Token()}
	for start := time.Now(); len(known) <= renewals || !same(all.ask("token"), "key "+server.Token()); {
		if time.Since(start) > 2*renewals*lifetime {
			t.Fatal("the processes do not get to the newest key")
		}
		for i, answer := range all.ask("token") {
			if !strings.HasPrefix(answer, "key ") {
				t.Fatalf("process %d: %s", i, answer)
			}
		}
		if newest := server.Token(); newest != known[len(known)-1] {
			known = append(known, newest)
		}
	}
	if renewed := posts(server); !slices.Equal(renewed, known[:len(known)-1]) {
		t.Errorf("renewed were %q of %q, want each but the last once", renewed, known)
	}
}

func same(answers []string, want string) bool {
	return !slices.ContainsFunc(answers, func(a string) bool { return a != want })
}
