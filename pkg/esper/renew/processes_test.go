package renew_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestChild is the main program of the processes that tests start.
func TestChild(*testing.T) {
	processes.Main(func(path string) (renew.Store, error) { return renew.File(path), nil })
}

// renewal is the operation with which the processes of these tests renew the key.
var renewal = map[bool]string{false: "renewToken", true: "renewPersonalAccessToken"}[os.Getenv("ESPER_TEST_VIA") == "personal-access-token"]

// TestKilledAtRandom kills processes at any moment while they renew the key again and again. A key is lost only
// if no process has received it.
func TestKilledAtRandom(t *testing.T) {
	kills := 20 // for each kind of server; set ESPER_TEST_KILLS for more
	if n, err := strconv.Atoi(os.Getenv("ESPER_TEST_KILLS")); err == nil {
		kills = n
	}
	for name, options := range map[string][]espertest.Option{"old key ends at once": nil, "old key goes on": {espertest.KeepOldKey()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scene{T: t, server: espertest.NewServer(t, options...), path: filepath.Join(t.TempDir(), "esper", "key.json"), keepOld: options != nil}
			s.start(s.server.Token())
			lost, n, longest := 0, 0, 60*time.Millisecond // until a process is killed
			useful := func() bool { return processes.Posts(s.server) >= kills/2 && (s.keepOld || lost > 0) }
			for ; (n < kills || !useful() && n < 5*kills) && !t.Failed(); n++ {
				before := processes.Posts(s.server)
				// The server answers late. If Handled is set, it has then already ended the old key.
				s.server.FailOperation(renewal, -1, espertest.Fault{Delay: rand.N(30 * time.Millisecond), Handled: n%2 == 0})
				var all sync.WaitGroup
				for range 3 {
					c := s.start("")
					c.Tell("loop")
					all.Go(func() {
						<-time.After(rand.N(longest))
						c.Kill()
					})
				}
				all.Wait()
				if processes.Posts(s.server) == before { // no renewal: the machine is slow, so processes must live longer
					longest = min(2*longest, 2*time.Second)
				}
				s.server.FailOperation(renewal, 0, espertest.Fault{})
				if s.lost() {
					lost++
				}
			}
			t.Logf("%d kills, %d renewals, %d answers lost", n, processes.Posts(s.server), lost)
			if !useful() {
				t.Error("there were too few renewals, or no process was killed between a renewal and its answer, so the test shows nothing")
			}
		})
	}
}

// scene is a server and a key file, used by processes that are killed.
type scene struct {
	*testing.T
	server  *espertest.Server
	path    string
	keepOld bool
}

// start starts a process, with the given key if the file is missing.
func (s *scene) start(initial string) *processes.Process {
	c := processes.Start(s.T, s.server, s.path, initial)
	c.Hear()
	return c
}

// stored returns the key in the file. It first lets time pass, so that the next process need not wait until an attempt is
// over: the document has the key refused half a day ago in place of the attempt, so that the process asks the server. If a
// killed process has written the next document but not put it in place, stored does so.
func (s *scene) stored() (key any) {
	var d map[string]any
	document, _, err := renew.File(s.path).Load(s.Context())
	if err == nil {
		err = json.Unmarshal(document, &d)
	}
	if d["attempt"] != nil || d["refused_at"] != nil {
		d["refused_at"] = time.Now().Add(-13 * time.Hour)
		delete(d, "attempt")
		document, _ = json.Marshal(d)
	}
	if err == nil {
		err = os.WriteFile(s.path, document, 0o600)
	}
	if err != nil {
		s.Fatal(err)
	}
	return d["key"]
}

// lost reports whether the key is lost. It fails the test if the key is lost although a process received it.
func (s *scene) lost() bool {
	for range 2 { // a key is lost only after a second refusal, here half a day later
		s.stored()
		c := s.start("")
		answer := c.Ask("check")
		kind, _, _ := strings.Cut(answer, " ")
		processes.NoSecondPost(s.T, s.server)
		newest := s.stored() == s.server.Token()
		switch {
		case kind == "key" && s.keepOld && !newest && renewal == "renewPersonalAccessToken":
			// The old key goes on working, but its token has the key that no process received. A person has to adopt it.
			if answer := c.Ask("renew"); !strings.Contains(answer, "adopt") {
				s.Fatalf("the token of the old key has another key, and the error does not say to adopt that: %s", answer)
			}
			c.Kill()
			s.adopt()
			return false
		case kind == "key" && (newest || s.keepOld):
			c.Kill()
			return false
		case s.keepOld || kind == "key":
			s.Fatalf("%s; the newest key is stored: %v", answer, newest)
		case kind == "lost":
			files, _ := filepath.Glob(filepath.Dir(s.path) + "/*")
			for _, file := range files {
				if data, _ := os.ReadFile(file); strings.Contains(string(data), `"`+s.server.Token()+`"`) {
					s.Errorf("the key is lost, although the new key is in %s", file)
				}
			}
			c.Kill()
			s.adopt()
			return true
		}
		c.Kill()
	}
	s.Fatal("the server refused the key twice, and the process does not say that it is lost")
	return true
}

// adopt starts with an empty store and the newest key, as a person would who copied that key from the console.
func (s *scene) adopt() {
	_ = os.RemoveAll(filepath.Dir(s.path))
	s.start(s.server.Token()).Kill()
}
