package storetest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// brokenEnv tells a child process which broken store to run the suite with.
const brokenEnv = "STORETEST_BROKEN"

func TestGoodStore(t *testing.T) {
	Run(t, func(*testing.T) func() renew.Store { return broken("") })
}

// TestSuiteCatches runs the suite with stores that break the contract in one way each, in child
// processes, since it has to fail there.
func TestSuiteCatches(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		const soon = time.Second
		run(t, soon, func(*testing.T) func() renew.Store { return broken(name) })
		return
	}
	for name, check := range map[string]string{
		"empty, not nil":     "Empty",
		"error when empty":   "Empty",
		"trims":              "RoundTrip",
		"cut at 1 MiB":       "RoundTrip",
		"never overwrites":   "RoundTrip",
		"own copies":         "RoundTrip",
		"keeps the slice":    "NoAliasing",
		"hands out its own":  "NoAliasing",
		"halves":             "WholeDocuments",
		"no lock":            "LockExcludes",
		"lock of the handle": "LockExcludes",
		"lock fails if held": "LockWakes",
		"never unlocks":      "LockWakes",
		"ignores the wait":   "LockWaitEnds",
		"wrong error":        "LockWaitEnds",
		"unlocks others":     "UnlockTwice",
		"lock keeps out":     "WorksWhileLocked",
		"load unlocks":       "WorksWhileLocked",
		"late cancel":        "Cancelled",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteCatches$/"+check, "-test.timeout=60s")
			child.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := child.CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestSuiteCatches/"+check+" ") {
				t.Errorf("%s did not fail: %v\n%s", check, err, out)
			}
			if strings.Contains(string(out), "panic:") || strings.Contains(string(out), "DATA RACE") {
				t.Errorf("the suite itself broke:\n%s", out)
			}
		})
	}
}

// store is a store in memory, with a fault.
type store struct {
	*storage
	fault string
	copy  []byte // of "own copies"
	lock  chan struct{}
}

type storage struct {
	mu       sync.Mutex
	document []byte
}

func broken(fault string) func() renew.Store {
	shared, lock := &storage{}, make(chan struct{}, 1)
	return func() renew.Store {
		s := &store{storage: shared, fault: fault, lock: lock}
		if fault == "lock of the handle" {
			s.lock = make(chan struct{}, 1)
		}
		return s
	}
}

func (s *store) Load(ctx context.Context) ([]byte, error) {
	if s.fault == "lock keeps out" {
		unlock, err := s.Lock(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	if s.fault == "load unlocks" {
		select {
		case <-s.lock:
		default:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil && s.fault != "late cancel":
		return nil, ctx.Err()
	case s.document == nil && s.fault == "empty, not nil":
		return []byte{}, nil
	case s.document == nil && s.fault == "error when empty":
		return nil, errors.New("not found")
	case s.fault == "hands out its own":
		return s.document, nil
	case s.fault == "own copies" && s.copy != nil:
		return slices.Clone(s.copy), nil
	}
	return slices.Clone(s.document), nil
}

func (s *store) Save(ctx context.Context, document []byte) error {
	const mebibyte = 1 << 20
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	saved := slices.Clone(document)
	switch s.fault {
	case "trims":
		saved = []byte(strings.TrimSpace(string(saved)))
	case "cut at 1 MiB":
		saved = saved[:min(len(saved), mebibyte)]
	case "never overwrites":
		if s.document != nil {
			saved = s.document
		}
	case "own copies":
		s.copy = saved
	case "keeps the slice":
		saved = document
	case "halves":
		s.document = saved[:len(saved)/2]
		s.mu.Unlock()
		<-time.After(time.Millisecond)
		s.mu.Lock()
	}
	s.document = saved
	return nil
}

func (s *store) Lock(ctx context.Context) (unlock func(), err error) {
	if ctx.Err() != nil && s.fault != "late cancel" {
		return nil, ctx.Err()
	}
	wait := ctx.Done()
	switch s.fault {
	case "no lock":
		return func() {}, nil
	case "lock fails if held":
		if len(s.lock) > 0 {
			return nil, context.DeadlineExceeded
		}
	case "ignores the wait":
		wait = nil
	}
	select {
	case s.lock <- struct{}{}:
	case <-wait:
		if s.fault == "wrong error" {
			return nil, errors.New("cannot lock")
		}
		return nil, ctx.Err()
	}
	free := func() {
		select {
		case <-s.lock:
		default:
		}
	}
	switch s.fault {
	case "never unlocks":
		return func() {}, nil
	case "unlocks others":
		return free, nil
	}
	return sync.OnceFunc(free), nil
}
