package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// The environment variables of another process: the test that started it, what it does, and the address of its store.
const (
	testEnv    = "ESPER_STORETEST_TEST"
	roleEnv    = "ESPER_STORETEST_ROLE"
	addressEnv = "ESPER_STORETEST_ADDRESS"
)

const counts = 25 // changes that each process makes

func isChild(t *testing.T) bool { return os.Getenv(testEnv) == t.Name() }

// child does what the environment says, and ends the process: the rest of the test is the parent's.
func child(t *testing.T, open func(address string) (renew.Store, error)) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := func() error {
		s, err := open(os.Getenv(addressEnv))
		if err != nil {
			return err
		}
		switch os.Getenv(roleEnv) {
		case "count":
			for n := range counts {
				if err := sign(ctx, s, fmt.Sprintf("%d.%d", os.Getpid(), n)); err != nil {
					return err
				}
			}
		case "save": // until it is killed
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := replace(ctx, s, func([]byte) []byte { return letter(i % len(letters)) }); err != nil {
					return err
				}
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintf(os.Stdout, "\nanother process: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this process belongs to the test
	}
	os.Exit(0) //nolint:forbidigo // likewise
}

// start starts the test binary again, as another process of the test with this name.
func start(t *testing.T, name, role, address string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	c := exec.CommandContext(t.Context(), program, //nolint:gosec // this test binary
		"-test.run="+strings.Join(parts, "/"), "-test.timeout=60s", "-test.count=1")
	c.Env = append(os.Environ(), testEnv+"="+name, roleEnv+"="+role, addressEnv+"="+address)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, &out
}

func processChecks() map[string]func(t *testing.T, address string, open func(string) (renew.Store, error)) {
	return map[string]func(t *testing.T, address string, open func(string) (renew.Store, error)){
		"ProcessesCount": processesCount,
		"ProcessKilled":  processKilled,
	}
}

// parentName is the name of the test that called Run.
func parentName(t *testing.T) string {
	return t.Name()[:strings.LastIndex(t.Name(), "/")]
}

// processesCount changes the document from several processes at once. No change may be lost.
func processesCount(t *testing.T, address string, open func(string) (renew.Store, error)) {
	const processes = 3
	var all []*exec.Cmd
	var outputs []*strings.Builder
	for range processes {
		c, out := start(t, parentName(t), "count", address)
		all, outputs = append(all, c), append(outputs, out)
	}
	for i, c := range all {
		if err := c.Wait(); err != nil {
			t.Errorf("process %d: %v\n%s", i, err, outputs[i])
		}
	}
	if t.Failed() {
		return
	}
	s, err := open(address)
	if err != nil {
		t.Fatal(err)
	}
	document, _, err := s.Load(t.Context())
	if wrong := signed(document, processes*counts); err != nil || wrong != "" {
		t.Errorf("after changes by %d processes: %s, %v", processes, wrong, err)
	}
}

// processKilled kills processes that save all the time. The document must still be whole, and replaceable.
func processKilled(t *testing.T, address string, open func(string) (renew.Store, error)) {
	const kills, longest = 5, 50 * time.Millisecond
	s, err := open(address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := replace(t.Context(), s, func([]byte) []byte { return letter(0) }); err != nil {
		t.Fatal(err)
	}
	changed := false
	for range kills {
		_, before, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, out := start(t, parentName(t), "save", address)
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(time.Millisecond) {
			if _, version, err := s.Load(t.Context()); err == nil && version != before {
				changed = true
				break
			}
		}
		<-time.After(rand.N(longest)) //nolint:gosec // any moment will do
		_ = c.Process.Kill()
		_ = c.Wait()
		document, _, err := s.Load(t.Context())
		if err != nil || !isLetter(document) {
			t.Fatalf("after a process was killed Load returned %s, %v, which nobody saved\n%s", describe(document), err, out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err = replace(ctx, s, func([]byte) []byte { return letter(1) })
		cancel()
		if err != nil {
			t.Fatalf("replacing the document after a process was killed: %v\n%s", err, out)
		}
	}
	if !changed {
		t.Error("this process saw no change by another process")
	}
}
