//go:build unix && slow

package renew_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestStopped stops a process (SIGSTOP) at any moment of a renewal, for longer than the attempt may take, while
// another process wants to renew the same key. Afterwards both processes have the server's key.
func TestStopped(t *testing.T) {
	stops := 24
	if n, err := strconv.Atoi(os.Getenv("ESPER_TEST_STOPS")); err == nil {
		stops = n
	}
	const lifetime, left, attempt = 250 * time.Second, 200 * time.Second, 12500 * time.Millisecond
	var all sync.WaitGroup
	slots := make(chan struct{}, 12)
	for i := range stops {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			server := espertest.NewServer(t)
			path := dueFile(t, server)
			edit(t, path, func(d map[string]any) {
				d["issued_at"], d["expires_at"] = time.Now().Add(left-lifetime), time.Now().Add(left)
			})
			server.FailOperation(renewal, -1, espertest.Fault{Delay: 150 * time.Millisecond, Handled: i%2 == 0})
			stopped, other := processes.Start(t, server, path, ""), processes.Start(t, server, path, "")
			first, second := stopped.Hear(), other.Hear()
			stopped.Tell("renew")
			after := rand.N(250 * time.Millisecond)
			time.Sleep(after)
			_ = stopped.Signal(syscall.SIGSTOP)
			answers := make(chan string, 1)
			go func() {
				other.Tell("renew")
				answers <- other.Hear()
			}()
			time.Sleep(attempt + 7*time.Second)
			_ = stopped.Signal(syscall.SIGCONT)
			told := fmt.Sprintf("stopped after %v: began with %s, %s; it said %s, the other %s; %d renewals", after, first, second, stopped.Hear(), <-answers, processes.Posts(server))
			for n, c := range []*processes.Process{stopped, other} {
				c.Tell("check") // has the process take over what the other has saved
				answer := c.Hear()
				if answer != "key "+server.Token() {
					t.Errorf("%s\nin the end process %d has %s, which is not the key of the server", told, n, answer)
				}
			}
			if key := fields(t, path)["key"]; key != server.Token() || processes.Posts(server) > 3 || !strings.HasPrefix(first, "key ") {
				t.Errorf("%s\nstored: %s", told, key)
			}
		})
	}
	all.Wait()
}

// dueFile makes a key file whose key is due, ten minutes before its end.
func dueFile(t *testing.T, server *espertest.Server) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "esper", "key.json")
	source, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err == nil {
		err = source.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(d map[string]any) {
		d["issued_at"], d["expires_at"] = time.Now().Add(-80*24*time.Hour), time.Now().Add(10*time.Minute)
	})
	return path
}
