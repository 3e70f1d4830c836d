package renew

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

func newScene(t *testing.T, keepOld bool) *scene {
	var opts []espertest.Option
	if keepOld {
		opts = append(opts, espertest.KeepOldKey())
	}
	s := &scene{T: t, server: espertest.NewServer(t, opts...), path: filepath.Join(t.TempDir(), "esper", "key.json"), keepOld: keepOld}
	c := startChild(t, s.server, s.path, "")
	if answer := c.ask("open " + s.server.Token()); answer != "done" {
		t.Fatal(answer)
	}
	c.kill()
	return s
}

// dieAt kills a process that renews, at a step of its own or of the server's.
func (s *scene) dieAt(step string, fault espertest.Fault) {
	s.Helper()
	c, first := startChild(s.T, s.server, s.path, step), s.server.Token()
	if answer := c.ask("open"); answer != "done" {
		s.Fatal(answer)
	}
	if fault.Delay == 0 {
		if answer := c.ask("renew"); answer != "at "+step {
			s.Fatalf("%s, want it at %q", answer, step)
		}
		c.kill()
		return
	}
	s.server.Fail(1, fault)
	c.tell("renew")
	for len(posts(s.server)) == 0 || fault.Handled && s.server.Token() == first {
		if s.Context().Err() != nil {
			s.Fatal("no POST arrived")
		}
		time.Sleep(time.Millisecond)
	}
	c.kill()
	s.server.Fail(0, espertest.Fault{})
}

func (s *scene) inTemporary(key string) bool {
	left, _ := filepath.Glob(s.path + temporaryMark + "*")
	for _, name := range left {
		data, err := os.ReadFile(name)
		if doc, decodeErr := decode(data, s.server.URL); err == nil && decodeErr == nil && doc.Key == key {
			return true
		}
	}
	return false
}

// TestRescueChooses wants the one leftover that works, and none of the others.
func TestRescueChooses(t *testing.T) {
	for name, works := range map[string]bool{"one works": true, "none works": false} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, false)
			s.dieAt("key in temporary file", espertest.Fault{})
			left, _ := filepath.Glob(s.path + temporaryMark + "*")
			if len(left) != 1 {
				t.Fatalf("left are %q", left)
			}
			good, err := os.ReadFile(left[0])
			if err != nil {
				t.Fatal(err)
			}
			doc, err := decode(good, s.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			refused, older := doc, doc
			refused.Key = "refused-made-up-key"
			older.RenewedAt = time.Time{}
			contents := [][]byte{nil, good[:len(good)/2], []byte("foreign"), must(refused.encode()), must(older.encode()), good}
			if !works {
				contents = contents[:len(contents)-1]
			}
			for i, content := range append(contents, contents...) { // whatever the order of the names
				name := left[0][:len(left[0])-1] + string(rune('a'+i))
				if err := os.WriteFile(name, content, fileMode); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Remove(left[0]); err != nil {
				t.Fatal(err)
			}
			_, kind := s.restart()
			if works != (kind == "key") || works != (s.stored().Key == s.server.Token()) {
				t.Errorf("%s; stored is the newest key: %v", kind, s.stored().Key == s.server.Token())
			}
		})
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// TestCrashAtRandom kills processes that do nothing but renew, at any moment.
func TestCrashAtRandom(t *testing.T) {
	const kills, most, longest = 100, 20 * time.Second, 40 * time.Millisecond // for each kind of server
	for name, keepOld := range map[string]bool{"old key ends at once": false, "old key goes on": true} {
		t.Run(name, func(t *testing.T) {
			s, start := newScene(t, keepOld), time.Now()
			ends, n := make(map[string]int), 0
			for ; n < kills && time.Since(start) < most && !t.Failed(); n++ { // most: of a slow disk
				before := s.stored()
				c, kind := s.restart()
				switch {
				case kind == "lost":
					ends["lost"]++
					if s.inTemporary(s.server.Token()) {
						t.Error("the new key is in a temporary file, and was not found there")
					}
					c.kill()
					if err := os.RemoveAll(filepath.Dir(s.path)); err != nil {
						t.Fatal(err)
					}
					c = startChild(t, s.server, s.path, "")
					if answer := c.ask("open " + s.server.Token()); answer != "done" {
						t.Fatal(answer)
					}
				case before.Key != s.stored().Key:
					ends["rescued"]++
				case before.Attempt != nil:
					ends["in doubt, key works"]++
				default:
					ends["between renewals"]++
				}
				// The answer is late, before or after the old key ends.
				s.server.Fail(-1, espertest.Fault{Delay: time.Duration(1 + rand.N(4_000_000)), Handled: n%2 == 0})
				c.tell("loop")
				time.Sleep(rand.N(longest))
				c.kill()
				s.server.Fail(0, espertest.Fault{})
				s.letPause()
			}
			s.restart()
			t.Logf("%d kills in %v, %d POSTs; found: %v",
				n, time.Since(start).Round(time.Millisecond), len(posts(s.server)), ends)
			if len(posts(s.server)) == 0 || !strings.Contains(s.stored().Key, "renewed") {
				t.Error("nothing was renewed: the test is of no use")
			}
		})
	}
}
