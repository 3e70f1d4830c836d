//go:build !windows

package keyfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// A new file is for this user, or its group. One that is there keeps a mode that it may have. If others can read it,
// that is told at once, but not to whoever only reads, and the next save ends it.
func TestModes(t *testing.T) {
	for _, row := range []struct {
		group, engine bool
		was, want     fs.FileMode
	}{
		{false, false, 0o600, 0o600},
		{false, false, 0o640, 0o640},
		{false, false, 0o644, 0o600},
		{false, false, 0o660, 0o600},
		{true, false, 0o640, 0o640},
		{false, true, 0o600, 0o600},
		{false, true, 0o640, 0o640},
		{false, true, 0o644, 0o640},
		{false, true, 0o666, 0o640},
	} {
		s := New(filepath.Join(t.TempDir(), "made", "key.json"), row.group)
		s.engine = row.engine
		change := func() {
			if !row.engine {
				save(t, s, "x")
			} else if err := s.Inspect(t.Context(), false); err != nil {
				t.Error(err)
			}
		}
		if err := s.Inspect(t.Context(), true); row.engine != errors.Is(err, fs.ErrNotExist) || exists(filepath.Dir(s.path)) {
			t.Errorf("a reader of nothing: %v", err)
		}
		change()
		file, folder := fs.FileMode(0o600), fs.FileMode(0o700)
		if row.group {
			file, folder = 0o640, 0o750
		}
		if got, in := mode(t, s.path), mode(t, filepath.Dir(s.path)); got != file || in != folder {
			t.Errorf("%+v: %#o in %#o, want %#o in %#o", row, got, in, file, folder)
		}
		if err := os.Chmod(s.path, row.was); err != nil {
			t.Fatal(err)
		}
		if err := s.Inspect(t.Context(), true); err != nil || len(s.Warnings()) > 0 {
			t.Errorf("%+v: a reader: %v, or a warning", row, err)
		}
		for range 2 {
			if err := s.Inspect(t.Context(), false); err != nil {
				t.Error(err)
			}
		}
		if warned := strings.Join(s.Warnings(), "\n"); strings.Count(warned, s.path+": other users can read it") != map[bool]int{true: 1}[row.was&^ours != 0] {
			t.Errorf("%+v: warned of %q", row, warned)
		}
		change()
		if got := mode(t, s.path); got != row.want || len(s.Warnings()) > 0 {
			t.Errorf("%+v: it became %#o", row, got)
		}
	}
}

// watched calls look whenever somebody asks for the owner.
type watched struct {
	fs.FileInfo
	look func()
}

func (w watched) Sys() any { w.look(); return w.FileInfo.Sys() }

// A new file is for its owner alone from the beginning: who opened it before its mode is set could read the key later.
func TestModeAtFirst(t *testing.T) {
	s := fresh(t)
	save(t, s, "x")
	defer syscall.Umask(syscall.Umask(0))
	p, path, first := at(t, s), s.path+".new", fs.FileMode(0)
	p.file = watched{p.file, func() { first |= mode(t, path) }}
	made, err := p.create(path, 0o600, nil)
	if err := errors.Join(made.Close(), err); err != nil || first != 0o600 {
		t.Errorf("%v; the mode is %#o before it is set", err, first)
	}
}

// A folder in which other users could replace the file is refused.
func TestFolders(t *testing.T) {
	for perm, refused := range map[fs.FileMode]bool{
		0o755: false, 0o700: false, 0o750: false, 0o777 | fs.ModeSticky: false, 0o770 | fs.ModeSticky: false,
		0o777: true, 0o775: true, 0o770 | fs.ModeSetgid: true, 0o702: true,
	} {
		folder := t.TempDir()
		if err := os.Chmod(folder, perm); err != nil {
			t.Fatal(err)
		}
		s := New(filepath.Join(folder, "key.json"), false)
		_, err := s.Save(t.Context(), []byte("x"), "")
		if refuses := Database(filepath.Join(folder, "keys.db")).Inspect(t.Context(), false) != nil; refuses != (refused || perm&fs.ModeSticky != 0) {
			t.Errorf("%v, where others could put a journal beside the file of a database: refused is %v", perm, refuses)
		}
		if !refused {
			if err != nil {
				t.Errorf("%v: %v", perm, err)
			}
			continue
		}
		wantError(t, s, err, true, "others could replace the file")
		if os.Geteuid() == 0 {
			continue // for root, the folders above count too: see TestRefused
		}
		wantError(t, s, err, true, "a folder of its own")
		own := New(filepath.Join(folder, "own", "key.json"), false) // as the error advises
		save(t, own, "x")
		if got := mode(t, filepath.Join(folder, "own")); got != 0o700 {
			t.Errorf("a folder in a shared volume has mode %#o", got)
		}
	}
}

// What is no regular file is refused at once, as the file and as its lock, and nothing waits for it.
func TestTypes(t *testing.T) {
	for name, place := range map[string]func(path string) error{
		"a pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a socket": func(path string) error { _, err := net.Listen("unix", path); return err },
		"a device": func(path string) error { return os.Symlink("/dev/null", path) },
		"an open pipe": func(path string) error { // as /dev/stdout is one, to which only the system can follow
			var ends [2]int
			return errors.Join(syscall.Pipe(ends[:]), os.Symlink(fmt.Sprintf("/dev/fd/%d", ends[1]), path))
		},
		"a folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"dead link": func(path string) error { return os.Symlink(filepath.Join(path, "x"), path) },
	} {
		folder := t.TempDir()
		s := New(filepath.Join(folder, "key"), false)
		if err := place(s.path); err != nil {
			t.Fatal(err)
		}
		_, _, loadErr := s.Load(t.Context())
		_, saveErr := s.Save(t.Context(), []byte("x"), "")
		databaseErr := Database(s.path).Inspect(t.Context(), false)
		for _, err := range []error{loadErr, saveErr, databaseErr} {
			if name == "dead link" {
				wantError(t, s, err, true, "symbolic links")
				continue
			}
			wantError(t, s, err, true, map[bool]string{true: "it is a folder", false: "not a regular file"}[name == "a folder"])
		}
		if left, _ := os.ReadDir(folder); len(left) != 1 {
			t.Errorf("%s: left behind %v", name, left)
		}
		s = New(filepath.Join(folder, "other"), false)
		if err := place(at(t, s).lockName()); err != nil {
			t.Fatal(err)
		}
		_, err := s.Save(t.Context(), []byte("x"), "")
		wantError(t, s, err, true, "its lock", "other.lock", "remove the lock")
	}
}

// At each start of a pod with fsGroup, the kubelet gives all of the volume to the group. The folder of its own that the
// store has made there is narrowed again, by the first look at it. A folder in which something else lies is refused.
func TestWidened(t *testing.T) {
	for name, use := range map[string]func(s *Store) error{
		"Inspect": func(s *Store) error { return s.Inspect(t.Context(), false) },
		"Save": func(s *Store) error {
			_, version, _ := s.Load(t.Context())
			_, err := s.Save(t.Context(), []byte("y"), version)
			return err
		},
		"Database": func(s *Store) error { s.engine = true; return s.Inspect(t.Context(), false) },
	} {
		s := fresh(t)
		save(t, s, "x")
		folder := filepath.Dir(s.path)
		kubelet := func() {
			for path, perm := range map[string]fs.FileMode{folder: 0o770 | fs.ModeSetgid, s.path: 0o660, s.path + ".lock": 0o660} {
				if err := os.Chmod(path, perm); err != nil {
					t.Fatal(err)
				}
			}
		}
		kubelet()
		if err := s.Inspect(t.Context(), true); err != nil || mode(t, folder) != 0o770 { // who only reads changes nothing
			t.Errorf("a reader: %v, %#o", err, mode(t, folder))
		}
		if err := use(s); err != nil || mode(t, folder) != 0o750 {
			t.Errorf("%s: %v, %#o", name, err, mode(t, folder))
		}
		if warned := strings.Join(s.Warnings(), "\n"); !strings.Contains(warned, "narrowed") || !strings.Contains(warned, "mode 0660") {
			t.Errorf("%s: warned of %s", name, warned)
		}
		kubelet()
		put(filepath.Join(folder, "theirs"), "")
		wantError(t, s, use(s), true, "others could replace the file") // it is not a folder of its own
	}
}

// Somebody removes the lock file while a save holds it, and another save takes place. The first one then ends in a
// conflict.
func TestLockRemoved(t *testing.T) {
	s := fresh(t)
	save(t, s, "x")
	p := at(t, s)
	held, err := p.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // it is empty
	_ = os.Remove(p.lockName())
	save(t, New(s.path, false), "another's")
	if err := s.replace(t.Context(), p, held, []byte("x"), []byte("mine")); !errors.Is(err, ErrConflict) {
		t.Errorf("a save without its lock: %v, want a conflict", err)
	}
	wantLoad(t, s, "another's")
	if left := p.nexts(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A mounted Secret or ConfigMap is read while the kubelet exchanges it: ..data leads to another folder, and the one
// before is removed.
func TestKubeletSwaps(t *testing.T) {
	volume := t.TempDir()
	swap := func(n int) {
		folder, link := filepath.Join(volume, fmt.Sprint("..", n)), filepath.Join(volume, "..data")
		_ = os.Mkdir(folder, 0o700)
		put(filepath.Join(folder, "key.json"), "x")
		if err := errors.Join(os.Symlink(fmt.Sprint("..", n), link+"_tmp"), os.Rename(link+"_tmp", link), os.RemoveAll(filepath.Join(volume, fmt.Sprint("..", n-1)))); err != nil {
			t.Error(err)
		}
	}
	swap(0)
	if err := os.Symlink("..data/key.json", filepath.Join(volume, "key.json")); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithCancel(t.Context())
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			swap(n)
		}
	})
	s := New(filepath.Join(volume, "key.json"), false)
	for range 3000 {
		if document, _, err := s.Load(t.Context()); string(document) != "x" || err != nil {
			t.Errorf("%q, %v", document, err)
			break
		}
	}
	done()
	swapping.Wait()
}

// The longest name that a save needs is tried by the first one.
func TestLongName(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), strings.Repeat("k", 225)), false)
	_, err := s.Save(t.Context(), []byte("x"), "")
	wantError(t, s, err, true, "use a shorter one")
	save(t, New(filepath.Join(t.TempDir(), strings.Repeat("k", 210)), false), "x")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Each error says what to do.
func TestAdvice(t *testing.T) {
	s := fresh(t)
	for _, row := range []struct {
		cause     syscall.Errno
		reading   bool
		permanent bool
		want      string
	}{
		{syscall.EBUSY, false, true, "mount its folder"},
		{syscall.EROFS, false, true, "mounted read-only"},
		{syscall.EACCES, false, true, "StateDirectory="},
		{syscall.EPERM, false, true, "fsGroup"},
		{syscall.ENOSPC, false, false, "make room"},
		{syscall.EIO, false, false, "input/output error"},
		{syscall.EACCES, true, true, "let this user join their group"},
		{syscall.ENOLCK, false, true, "perhaps NFS, lacks locks"},
	} {
		err := explain(s.path, row.reading, &os.LinkError{Op: "rename", Old: s.path, New: s.path, Err: row.cause})
		wantError(t, s, err, row.permanent, row.want)
		if !errors.Is(err, row.cause) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
}
