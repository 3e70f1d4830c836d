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
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
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
		err := s.Inspect(t.Context(), true)
		if left, _ := os.ReadDir(filepath.Dir(s.path)); row.engine != errors.Is(err, fs.ErrNotExist) || left != nil {
			t.Errorf("a reader of nothing: %v, %v", err, left)
		}
		change()
		file, folder := fs.FileMode(0o600), fs.FileMode(0o700)
		if row.group {
			file, folder = 0o640, 0o750
		}
		if got, in := mode(t, s.path), mode(t, filepath.Dir(s.path)); got != file || in != folder {
			t.Errorf("%+v: %#o in %#o, want %#o in %#o", row, got, in, file, folder)
		}
		must(t, os.Chmod(s.path, row.was))
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

// A folder in which other users could replace the file, or put a journal beside that of a database, is refused. But at
// each start of a pod with fsGroup, the kubelet gives all of the volume to the group: a folder of its own, in which
// nothing else lies, is narrowed again by the first look at it.
func TestFolders(t *testing.T) {
	const sticky, setgid, refused = fs.ModeSticky, fs.ModeSetgid, 0
	uses := map[string]func(s *Store) error{
		"Inspect": func(s *Store) error { return s.Inspect(t.Context(), false) },
		"Save": func(s *Store) error {
			_, version, _ := s.Load(t.Context())
			_, err := s.Save(t.Context(), []byte("y"), version)
			return err
		},
		"Database": func(s *Store) error { s.engine = true; return s.Inspect(t.Context(), false) },
	}
	shared := map[fs.FileMode]fs.FileMode{ // another file lies in it, too
		0o700: 0o700, 0o750: 0o750, 0o755: 0o755, 0o777 | sticky: 0o777, 0o770 | sticky: 0o770,
		0o777: refused, 0o775: refused, 0o770 | setgid: refused, 0o702: refused,
	}
	own := map[fs.FileMode]fs.FileMode{0o777: 0o755, 0o770 | setgid: 0o750}
	try := func(was, want fs.FileMode, theirs bool, name string) {
		s := fresh(t)
		save(t, s, "x")
		folder := filepath.Dir(s.path)
		if theirs {
			put(filepath.Join(folder, "theirs"), "")
		}
		must(t, os.Chmod(folder, was))
		if err := s.Inspect(t.Context(), true); err != nil || mode(t, folder) != was.Perm() {
			t.Errorf("%v: a reader, who changes nothing: %v, %#o", was, err, mode(t, folder))
		}
		err := uses[name](s)
		if want == refused || name == "Database" && was&sticky != 0 {
			wantError(t, s, err, true, "others could replace the file")
		} else if got := mode(t, folder); err != nil || got != want {
			t.Errorf("%s in %v: %v, %#o", name, was, err, got)
		}
		if warned := strings.Join(s.Warnings(), ""); strings.Contains(warned, "narrowed") == theirs {
			t.Errorf("%s in %v: warned of %q", name, was, warned)
		}
	}
	for name := range uses {
		for was, want := range shared {
			try(was, want, true, name)
		}
		for was, want := range own {
			try(was, want, false, name)
		}
	}
}

// What is no regular file is refused at once, as the file and as its lock, and nothing waits for it.
func TestTypes(t *testing.T) {
	const special, isFolder, loop = "not a regular file", "it is a folder", "symbolic links"
	for name, row := range map[string]struct {
		place func(path string) error
		want  string
	}{
		"a pipe":   {func(path string) error { return syscall.Mkfifo(path, 0o600) }, special},
		"a socket": {func(path string) error { _, err := net.Listen("unix", path); return err }, special},
		"a device": {func(path string) error { return os.Symlink("/dev/null", path) }, special},
		"an open pipe": {func(path string) error { // as /dev/stdout is one, to which only the system can follow
			var ends [2]int
			return errors.Join(syscall.Pipe(ends[:]), os.Symlink(fmt.Sprintf("/dev/fd/%d", ends[1]), path))
		}, special},
		"a folder":  {func(path string) error { return os.Mkdir(path, 0o700) }, isFolder},
		"dead link": {func(path string) error { return os.Symlink(filepath.Join(path, "x"), path) }, loop},
	} {
		folder := t.TempDir()
		s := New(filepath.Join(folder, "key"), false)
		must(t, row.place(s.path))
		_, _, loadErr := s.Load(t.Context())
		_, saveErr := s.Save(t.Context(), []byte("x"), "")
		databaseErr := Database(s.path).Inspect(t.Context(), false)
		for _, err := range []error{loadErr, saveErr, databaseErr} {
			wantError(t, s, err, true, row.want)
		}
		if left, _ := os.ReadDir(folder); len(left) != 1 {
			t.Errorf("%s: left behind %v", name, left)
		}
		s = New(filepath.Join(folder, "other"), false)
		must(t, row.place(at(t, s).lockName()))
		_, err := s.Save(t.Context(), []byte("x"), "")
		wantError(t, s, err, true, "its lock", "other.lock", "remove the lock")
	}
}

// A save waits for the lock until its context ends. If somebody removes the lock file while a save holds it, and
// another save takes place, the first one ends in a conflict.
func TestLock(t *testing.T) {
	s := fresh(t)
	save(t, s, "x")
	_, version, _ := s.Load(t.Context())
	p := at(t, s)
	held, err := p.lock(t.Context())
	must(t, err)
	defer held.Close() //nolint:errcheck // it is empty
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Save(ctx, []byte("y"), version); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Save while the lock is held: %v", err)
	}
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
	must(t, os.Symlink("..data/key.json", filepath.Join(volume, "key.json")))
	var swapping sync.WaitGroup
	var loads atomic.Int64
	swapping.Go(func() {
		for n := 1; loads.Load() < 3000 && !t.Failed(); n++ {
			swap(n)
		}
	})
	for s := New(filepath.Join(volume, "key.json"), false); loads.Add(1) < 3000 && !t.Failed(); {
		wantLoad(t, s, "x")
	}
	swapping.Wait()
}

// The longest name that a save needs is tried by the first one.
func TestLongName(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), strings.Repeat("k", 225)), false)
	_, err := s.Save(t.Context(), []byte("x"), "")
	wantError(t, s, err, true, "use a shorter one")
	save(t, New(filepath.Join(t.TempDir(), strings.Repeat("k", 210)), false), "x")
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
