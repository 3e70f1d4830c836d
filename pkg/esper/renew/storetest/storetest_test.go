package storetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// brokenEnv tells a child process which broken store to run the suite with.
const brokenEnv = "STORETEST_BROKEN"

func TestMemory(t *testing.T) {
	RunInProcess(t, func(*testing.T) renew.Store { return renew.Memory() })
}

func TestFile(t *testing.T) {
	Run(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "esper", "key.json") },
		func(address string) (renew.Store, error) { return renew.File(address), nil })
}

// TestOddStore uses a store that returns conflicts although the save took effect, and changes its version by itself.
// The contract allows both.
func TestOddStore(t *testing.T) {
	RunInProcess(t, func(*testing.T) renew.Store { return &store{fault: "odd", storage: new(storage)} })
}

// TestSuiteCatches runs the suite on stores that each break the contract in one way. It uses child processes, because
// the suite has to fail there.
func TestSuiteCatches(t *testing.T) {
	switch name := os.Getenv(brokenEnv); name {
	case "":
	case "a file in place":
		Run(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "key.json") },
			func(path string) (renew.Store, error) { return inPlace{renew.File(path), path}, nil })
		return
	default: // in a Go map, which other processes do not see
		var all sync.Map
		Run(t, (*testing.T).Name, func(address string) (renew.Store, error) {
			shared, _ := all.LoadOrStore(address, new(storage))
			return &store{fault: name, storage: shared.(*storage)}, nil
		}, map[string][]Option{"cut beyond its limit": {MaxDocument(1 << 20)}}[name]...)
		return
	}
	for name, check := range map[string]string{
		"empty, not nil":          "Empty",
		"error when empty":        "Empty",
		"a version when empty":    "Empty",
		"saves over nothing":      "Empty",
		"trims":                   "RoundTrip",
		"cut at 1 MiB":            "RoundTrip",
		"cut beyond its limit":    "TooLarge",
		"never overwrites":        "RoundTrip",
		"own copies":              "RoundTrip",
		"version never changes":   "Versions",
		"random version":          "Versions",
		"ignores the version":     "Conflict",
		"empty version overrides": "Conflict",
		"conflict is another":     "Conflict",
		"writes, then conflicts":  "Conflict",
		"checks, then writes":     "OneWins",
		"loses changes":           "Counting",
		"saves half":              "WholeDocuments",
		"keeps the slice":         "NoAliasing",
		"hands out its own":       "NoAliasing",
		"late cancel":             "Cancelled",
		"wrong error":             "Cancelled",
		"a Go map":                "ProcessesCount",
		"a file in place":         "ProcessKilled",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteCatches$/^"+check+"$", "-test.timeout=60s")
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

// store is a handle on a store in memory that breaks the contract as fault says.
type store struct {
	*storage
	fault string
	own   []byte // what this handle saved last, for the fault "own copies"
}

type storage struct {
	mu       sync.Mutex
	document []byte
	version  int
	calls    int
}

// current is the version of the document, "" if there is none.
func (s *store) current() string {
	switch {
	case s.document == nil:
		return ""
	case s.fault == "version never changes":
		return "1"
	}
	return strconv.Itoa(s.version)
}

func (s *store) Load(ctx context.Context) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	version := s.current()
	switch {
	case ctx.Err() != nil && s.fault == "wrong error":
		return nil, "", errors.New("cannot load")
	case ctx.Err() != nil && s.fault != "late cancel":
		return nil, "", ctx.Err()
	case s.document == nil && s.fault == "empty, not nil":
		return []byte{}, "", nil
	case s.document == nil && s.fault == "error when empty":
		return nil, "", errors.New("not found")
	case s.document == nil && s.fault == "a version when empty":
		return nil, "0", nil
	case s.fault == "hands out its own":
		return s.document, version, nil
	case s.fault == "own copies" && s.own != nil:
		return slices.Clone(s.own), version, nil
	case s.document != nil && s.fault == "random version":
		return slices.Clone(s.document), version + "." + strconv.Itoa(s.calls), nil
	case s.fault == "odd" && s.calls%7 == 0 && s.document != nil:
		s.version++
	}
	return slices.Clone(s.document), version, nil
}

func (s *store) Save(ctx context.Context, document []byte, version string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	current := s.current()
	version, _, _ = strings.Cut(version, ".")
	same := version == current || s.fault == "ignores the version" || s.fault == "empty version overrides" && version == "" ||
		s.fault == "saves over nothing" && current == ""
	saved := slices.Clone(document)
	if !same {
		switch s.fault {
		case "conflict is another":
			return "", errors.New("somebody else was faster")
		case "writes, then conflicts":
			s.document, s.version = saved, s.version+1
		}
		return "", renew.ErrConflict
	}
	switch s.fault {
	case "trims":
		saved = bytes.TrimSpace(saved)
	case "cut at 1 MiB", "cut beyond its limit":
		saved = saved[:min(len(saved), 1<<20)]
	case "never overwrites":
		if s.document != nil {
			saved = s.document
		}
	case "own copies":
		s.own = saved
	case "keeps the slice":
		saved = document
	case "checks, then writes", "loses changes":
		s.mu.Unlock()
		<-time.After(2 * time.Millisecond)
		s.mu.Lock()
	case "saves half":
		s.document = saved[:len(saved)/2]
		s.mu.Unlock()
		<-time.After(time.Millisecond)
		s.mu.Lock()
	}
	s.document, s.version = saved, s.version+1
	if s.fault == "odd" && s.calls%11 == 0 {
		return "", renew.ErrConflict
	}
	return s.current(), nil
}

// inPlace overwrites its file, so that a process that is killed leaves half a document.
type inPlace struct {
	renew.Store
	path string
}

func (f inPlace) Save(ctx context.Context, document []byte, _ string) (version string, err error) {
	out, err := os.Create(f.path)
	for i := range document { // one byte at a time, so that a kill comes in between
		if err == nil {
			_, err = out.Write(document[i : i+1])
		}
	}
	if err == nil {
		_, version, err = f.Load(ctx)
	}
	return version, errors.Join(err, out.Close())
}
