package renew_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

// freshPath is a path for a key file, whose folder is not there yet.
func freshPath(t *testing.T) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir()) // is behind a link on macOS
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "esper", "key.json")
}

func save(t *testing.T, s renew.Store, document string) {
	t.Helper()
	if err := s.Save(t.Context(), []byte(document)); err != nil {
		t.Fatal(err)
	}
}

func wantLoad(t *testing.T, s renew.Store, want string) {
	t.Helper()
	if got, err := s.Load(t.Context()); err != nil || string(got) != want {
		t.Errorf("Load: %q, %v, want %q", got, err, want)
	}
}

// wantFiles checks what is in path's folder besides its lock.
func wantFiles(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", folder, got, want)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want && runtime.GOOS != "windows" {
		t.Errorf("%s has mode %#o, want %#o", path, got, want)
	}
}

func TestFileKeepsContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() renew.Store {
		path := freshPath(t)
		return func() renew.Store { return renew.File(path) }
	})
}

func TestFileModes(t *testing.T) {
	path := filepath.Join(freshPath(t), "deeper", "key.json")
	s := renew.File(path)
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	save(t, s, "one")
	save(t, s, "two")
	unlock()
	wantMode(t, path, 0o600)
	wantMode(t, path+".lock", 0o600)
	for folder := filepath.Dir(path); filepath.Base(folder) != "esper"; folder = filepath.Dir(folder) {
		wantMode(t, folder, 0o700)
	}
	wantFiles(t, filepath.Dir(path), "key.json", "key.json.lock")
}

// TestFileRefusesWideModes wants an error of every method that would touch the key, with the path
// and the mode that it should have.
func TestFileRefusesWideModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // which has no modes
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o666, 0o644, 0o601} {
		path := freshPath(t)
		s := renew.File(path)
		save(t, s, "document")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if document, err := s.Load(t.Context()); err == nil || document != nil || !names(err, path, "0600") {
			t.Errorf("Load of a file with mode %#o: %q, %v", mode, document, err)
		}
		wantMode(t, path, mode)
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		wantLoad(t, s, "document") // a narrower one is none of our business
	}
	for _, mode := range []fs.FileMode{0o750, 0o701, 0o755, 0o777 | fs.ModeSticky} {
		path := freshPath(t)
		folder, s := filepath.Dir(path), renew.File(path)
		save(t, s, "document")
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
		if document, err := s.Load(t.Context()); err == nil || document != nil || !names(err, folder, "0700") {
			t.Errorf("Load from a folder with mode %#o: %q, %v", mode, document, err)
		}
		if err := s.Save(t.Context(), []byte("other")); err == nil || !names(err, folder, "0700") {
			t.Errorf("Save to a folder with mode %#o: %v", mode, err)
		}
		if _, err := s.Lock(t.Context()); err == nil || !names(err, folder, "0700") {
			t.Errorf("Lock in a folder with mode %#o: %v", mode, err)
		}
		wantMode(t, folder, mode.Perm())
		wantFiles(t, folder, "key.json")
	}
}

func names(err error, texts ...string) bool {
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			return false
		}
	}
	return true
}

// TestFileIsAFolder has a folder where the file should be: Load says so, and a Save that cannot
// replace it leaves nothing behind.
func TestFileIsAFolder(t *testing.T) {
	path := freshPath(t)
	inside := filepath.Join(path, "inside")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := renew.File(path)
	if _, err := s.Load(t.Context()); err == nil || !names(err, path, "regular file") {
		t.Errorf("Load: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // Windows tries for a while
	defer cancel()
	if err := s.Save(ctx, []byte("document")); err == nil || !names(err, path) {
		t.Errorf("Save: %v", err)
	}
	wantFiles(t, filepath.Dir(path), "key.json")
	wantFiles(t, path, "inside")
}

// TestFileFolderIsAFile cannot make the folder.
func TestFileFolderIsAFile(t *testing.T) {
	path := freshPath(t)
	if err := os.WriteFile(filepath.Dir(path), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := renew.File(path)
	_, lockErr := s.Lock(t.Context())
	for name, err := range map[string]error{"Save": s.Save(t.Context(), []byte("document")), "Lock": lockErr} {
		if err == nil || !names(err, filepath.Dir(path)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileTooLarge(t *testing.T) {
	path := freshPath(t)
	s := renew.File(path)
	save(t, s, strings.Repeat("x", 4<<20))
	wantLoad(t, s, strings.Repeat("x", 4<<20))
	save(t, s, strings.Repeat("x", 4<<20+1))
	if document, err := s.Load(t.Context()); document != nil || err == nil || !names(err, path, "larger") {
		t.Errorf("Load: %d bytes, %v", len(document), err)
	}
}

// TestFileEmptyIsNotMissing tells a file that lost its content from one that was never there.
func TestFileEmptyIsNotMissing(t *testing.T) {
	path := freshPath(t)
	s := renew.File(path)
	save(t, s, "")
	if document, err := s.Load(t.Context()); document == nil || len(document) != 0 || err != nil {
		t.Errorf("Load of an empty file: %#v, %v", document, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if document, err := s.Load(t.Context()); document != nil || err != nil {
		t.Errorf("Load without a file: %#v, %v", document, err)
	}
}

// TestFileSweeps removes what dead processes left, no sooner than after an hour, and nothing else.
func TestFileSweeps(t *testing.T) {
	path := freshPath(t)
	folder, s := filepath.Dir(path), renew.File(path)
	save(t, s, "one")
	long := time.Now().Add(-61 * time.Minute)
	for name, age := range map[string]time.Time{
		"key.json.tmp-1": long, "key.json.tmp-2": time.Now().Add(-59 * time.Minute), "key.json.bak": long, "other.json.tmp-1": long,
	} {
		name = filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(name, []byte("left"), 0o600), os.Chtimes(name, age, age)); err != nil {
			t.Fatal(err)
		}
	}
	save(t, s, "two")
	wantFiles(t, folder, "key.json", "key.json.bak", "key.json.tmp-2", "other.json.tmp-1")
	if document, err := os.ReadFile(path); err != nil || !bytes.Equal(document, []byte("two")) {
		t.Errorf("%q, %v", document, err)
	}
}
