package renew

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// stepStore is the file store, taken apart, so that a child can stop at a step and be killed there.
type stepStore struct {
	file
	stop string
}

// reach stops for ever if step is the one.
func (s *stepStore) reach(step string) {
	if step == s.stop {
		fmt.Println("at " + step)
		time.Sleep(time.Hour)
	}
}

func (s *stepStore) Save(_ context.Context, data []byte) error {
	doc, err := decode(data, os.Getenv(childServer))
	if err != nil {
		return err
	}
	what := "key"
	if doc.Attempt != nil {
		what = "journal"
	}
	s.reach("before " + what)
	target, err := s.target()
	if err != nil {
		return err
	}
	temporary, err := writeTemporary(target, data)
	if err != nil {
		return err
	}
	s.reach(what + " in temporary file")
	if err := os.Rename(temporary, target); err != nil {
		return err
	}
	s.reach(what + " renamed")
	err = syncFolder(filepath.Dir(target))
	s.reach(what + " saved")
	return err
}

func (s *stepStore) Lock(ctx context.Context) (func(), error) {
	unlock, err := s.file.Lock(ctx)
	if err != nil {
		return nil, err
	}
	s.reach("locked")
	return func() {
		s.reach("before unlock")
		unlock()
		s.reach("unlocked")
	}, nil
}

// scene is a server and a key file at which processes die.
type scene struct {
	*testing.T
	server  *espertest.Server
	path    string
	keepOld bool
}

// stored reads the file, which always has to be whole.
func (s *scene) stored() document {
	s.Helper()
	data, err := os.ReadFile(s.path)
	if err != nil {
		s.Fatal(err)
	}
	doc, err := decode(data, s.server.URL)
	if err != nil {
		s.Fatalf("%s: %v", s.path, err)
	}
	return doc
}

// letPause makes the attempt in the file one that began before the pause.
func (s *scene) letPause() {
	s.Helper()
	doc := s.stored()
	if doc.Attempt == nil {
		return
	}
	doc.Attempt.StartedAt = doc.Attempt.StartedAt.Add(-pause - time.Minute)
	data, err := doc.encode()
	if err = errors.Join(err, File(s.path).Save(s.Context(), data)); err != nil {
		s.Fatal(err)
	}
}

// restart starts a process after a crash, waits until it knows where it stands, and judges that.
func (s *scene) restart() (c *child, answer string) {
	s.Helper()
	doc := s.stored()
	c = startChild(s.T, s.server, s.path, "")
	if answer = c.ask("open"); answer != "done" {
		s.Fatal(answer)
	}
	start := time.Now()
	answer = c.ask("step")
	if took := time.Since(start); took > 10*time.Second {
		s.Errorf("the restarted process was ready after %v: who holds the lock?", took)
	}
	kind, key, _ := strings.Cut(answer, " ")
	switch {
	case kind == "key" && key == s.stored().Key && (s.keepOld || key == s.server.Token()):
	case kind == "lost" && !s.keepOld && doc.Attempt != nil && doc.Key != s.server.Token():
		if !strings.Contains(key, fmt.Sprint("process ", doc.Attempt.PID)) || !strings.Contains(key, s.path) {
			s.Errorf("ErrKeyLost does not say what happened, or where: %s", key)
		}
	default:
		s.Errorf("after the crash: %s; newest: %s, stored: %s, attempt: %v", answer, s.server.Token(), doc.Key, doc.Attempt != nil)
	}
	s.noSecondPost()
	return c, kind
}

// noSecondPost looks for a key that was to be renewed twice without TokenInfo in between.
func (s *scene) noSecondPost() {
	s.Helper()
	open := make(map[string]bool)
	for i, r := range s.server.Requests() {
		key := r.Key.Reveal()
		switch {
		case r.Method == "GET":
			delete(open, key)
		case open[key]:
			s.Errorf("request %d renews %s a second time without asking first", i, key)
		default:
			open[key] = true
		}
	}
}

// TestCrashAtStep kills a process at each step of a renewal, and looks at what the next one does.
func TestCrashAtStep(t *testing.T) {
	const old, lost, renewed = "old", "lost", "new"
	for _, c := range []struct {
		step    string
		fault   espertest.Fault // of the POST
		after   string          // the key in use after that, where the server ends the old key at once
		journal bool            // the file says that an attempt is under way
	}{
		{step: "locked", after: old},
		{step: "before journal", after: old},
		{step: "journal in temporary file", after: old},
		{step: "journal renamed", after: old, journal: true},
		{step: "journal saved", after: old, journal: true},
		{step: "POST sent", fault: espertest.Fault{Delay: time.Minute}, after: old, journal: true},
		{step: "POST handled", fault: espertest.Fault{Delay: time.Minute, Handled: true}, after: lost, journal: true},
		{step: "before key", after: lost, journal: true},
		{step: "key in temporary file", after: renewed, journal: true}, // it is found there
		{step: "key renamed", after: renewed},
		{step: "key saved", after: renewed},
		{step: "before unlock", after: renewed},
		{step: "unlocked", after: renewed},
	} {
		for _, keepOld := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keep old %v", c.step, keepOld), func(t *testing.T) {
				s := newScene(t, keepOld)
				first := s.server.Token()
				s.dieAt(c.step, c.fault)
				if got := s.stored().Attempt != nil; got != c.journal {
					t.Errorf("an attempt is in the file: %v, want %v", got, c.journal)
				}
				want := c.after
				if c.journal && keepOld {
					want = old
				}
				before := len(posts(s.server))
				next, got := s.restart()
				if got == "key" {
					got = map[bool]string{true: old, false: renewed}[s.stored().Key == first]
				}
				if got != want {
					t.Fatalf("in use is %q, want %q", got, want)
				}
				s.goOn(next, first, got, c.journal, before)
			})
		}
	}
}

// goOn wants a key that is renewed again, in time.
func (s *scene) goOn(c *child, first, got string, journal bool, before int) {
	s.Helper()
	if got == "lost" {
		if answer := c.ask("renew"); !strings.HasPrefix(answer, "lost") {
			s.Errorf("it does not stay lost: %s", answer)
		}
		if err := os.Remove(s.path); err != nil { // what the operator is told to do
			s.Fatal(err)
		}
		c = startChild(s.T, s.server, s.path, "")
		if answer := c.ask("open " + s.server.Token()); answer != "done" {
			s.Fatal(answer)
		}
	}
	if got == "old" && journal {
		if answer := c.ask("renew"); answer != "key "+first {
			s.Errorf("within the pause: %s, want the old key", answer)
		}
		if n := len(posts(s.server)); n != before {
			s.Errorf("%d POSTs within the pause", n-before)
		}
		c.kill()
		s.letPause()
		c, _ = s.restart()
	}
	if answer := c.ask("renew"); answer != "key "+s.server.Token() {
		s.Errorf("a later renewal: %s", answer)
	}
	if n := len(posts(s.server)); n != before+1 {
		s.Errorf("%d POSTs for a later renewal", n-before)
	}
	s.noSecondPost()
}
