//go:build !windows

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestModes(t *testing.T) {
	for group, want := range map[bool][2]fs.FileMode{false: {0o600, 0o700}, true: {0o640, 0o750}} {
		s := New(filepath.Join(t.TempDir(), "made", "key.json"), group)
		save(t, s, "x")
		if file, folder := mode(t, s.path), mode(t, filepath.Dir(s.path)); file != want[0] || folder != want[1] {
			t.Errorf("group %v: %#o in %#o, want %#o", group, file, folder, want)
		}
		if err := os.Chmod(s.path, 0o666); err != nil {
			t.Fatal(err)
		}
		wantLoad(t, s, "x") // Load reads it all the same
		save(t, s, "y")
		if file := mode(t, s.path); file != want[0] {
			t.Errorf("group %v: a file with a mode that is too wide has mode %#o after a save", group, file)
		}
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
		if !refused {
			if err != nil {
				t.Errorf("%v: %v", perm, err)
			}
			continue
		}
		wantError(t, s, err, true, "others could replace the file", "a folder of its own")
		own := New(filepath.Join(folder, "own", "key.json"), false) // as the error advises
		save(t, own, "x")
		if got := mode(t, filepath.Join(folder, "own")); got != 0o700 {
			t.Errorf("a folder in a shared volume has mode %#o", got)
		}
	}
}

// If a rename fails after the new file is complete, nothing is lost: Load reads the new file.
func TestCannotRename(t *testing.T) {
	s := fresh(t)
	save(t, s, "old")
	s.rename = func(from, to string) error {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EBUSY}
	}
	_, version, _ := s.Load(t.Context())
	_, err := s.Save(t.Context(), []byte("new"), version)
	wantError(t, s, err, true, "mount its folder")
	wantLoad(t, s, "new")
	s.rename = os.Rename
	save(t, s, "newer")
	wantLoad(t, s, "newer")
}

func TestPipe(t *testing.T) {
	s := fresh(t)
	save(t, s, "x")
	_ = os.Remove(s.path)
	if err := syscall.Mkfifo(s.path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Load(t.Context())
	wantError(t, s, err, true, "not a regular file")
}

// A save fails if syncing the folder fails, for example because of a broken disk.
func TestFolderSync(t *testing.T) {
	if err := syncFolder(t.TempDir()); err != nil {
		t.Error(err)
	}
	s := fresh(t)
	save(t, s, "old")
	s.sync = func(string) error { return &fs.PathError{Op: "sync", Path: "the folder", Err: syscall.EIO} }
	_, version, _ := s.Load(t.Context())
	_, err := s.Save(t.Context(), []byte("new"), version)
	wantError(t, s, err, false, "input/output error")
}

func TestAdvice(t *testing.T) {
	s := fresh(t)
	for _, test := range []struct {
		err       error
		permanent bool
		part      string
	}{
		{&fs.PathError{Op: "open", Path: s.path, Err: syscall.EROFS}, true, "mounted read-only"},
		{&fs.PathError{Op: "open", Path: s.path, Err: syscall.EACCES}, true, "StateDirectory="},
		{&fs.PathError{Op: "open", Path: s.path, Err: syscall.EPERM}, true, "fsGroup"},
		{&lockError{syscall.ENOLCK}, true, "NFS"},
		{&lockError{syscall.ENOSYS}, true, "has no locks"},
		{&fs.PathError{Op: "write", Path: s.path, Err: syscall.ENOSPC}, false, "make room"},
		{&fs.PathError{Op: "write", Path: s.path, Err: syscall.EIO}, false, "input/output"},
	} {
		err := explain(s.path, test.err)
		wantError(t, s, err, test.permanent, test.part)
		if !errors.Is(err, errors.Unwrap(test.err)) {
			t.Errorf("%v does not wrap its cause", err)
		}
	}
}

// TestAsRoot tests owners, users and mounts, which only root can set up. Without root it shows that a user cannot
// write where the folder belongs to somebody else.
func TestAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		s := New("/esper-key-test/key.json", false)
		_, err := s.Save(t.Context(), []byte("x"), "")
		wantError(t, s, err, true, "StateDirectory=")
		return
	}
	t.Run("what root makes is the service's", func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Chown(folder, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		s := New(filepath.Join(folder, "made", "key.json"), false)
		save(t, s, "x")
		save(t, s, "y")
		for _, path := range []string{s.path, s.path + ".lock", filepath.Dir(s.path)} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if uid, gid, _ := ownerOf(info); uid != nobody || gid != nobody {
				t.Errorf("%s belongs to %d:%d", path, uid, gid)
			}
		}
		if out, err := asNobody(t, "save", s.path); err != nil {
			t.Errorf("the service cannot save afterwards: %v\n%s", err, out)
		}
	})
	t.Run("owner and group survive", func(t *testing.T) {
		s := fresh(t)
		save(t, s, "x")
		_ = os.Chown(s.path, 1234, 2345)
		save(t, s, "y")
		info, _ := os.Stat(s.path)
		if uid, gid, _ := ownerOf(info); uid != 1234 || gid != 2345 {
			t.Errorf("after a save the file belongs to %d:%d, want 1234:2345", uid, gid)
		}
	})
	t.Run("another user", func(t *testing.T) {
		folder := t.TempDir() // belongs to root, so the user nobody cannot write there
		openUp(t, folder)
		if out, err := asNobody(t, "save", filepath.Join(folder, "key.json")); err == nil || !strings.Contains(out, "StateDirectory=") || !strings.Contains(out, "permanent true") {
			t.Errorf("a folder of another user: %v: %s", err, out)
		}
		if out, err := asNobody(t, "load", filepath.Join(folder, "key.json")); err != nil {
			t.Errorf("Load from a folder that may only be read: %v: %s", err, out)
		}
		_ = os.Chown(folder, 1234, 1234)
		_ = os.Chmod(folder, 0o777|fs.ModeSticky)
		s := New(filepath.Join(folder, "key.json"), false)
		save(t, s, "x")
		if out, err := asNobody(t, "save", s.path); err == nil || !strings.Contains(out, "permanent true") {
			t.Errorf("another user's file: %v: %s", err, out)
		}
	})
	t.Run("mounts", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			return
		}
		folder := t.TempDir()
		file := filepath.Join(folder, "esper", "key.json")
		save(t, New(file, false), "old")
		save := fmt.Sprintf("KEYFILE_ROLE=save KEYFILE_PATH=%s %s -test.run='^TestRole$' || true", file, os.Args[0])
		dir := filepath.Dir(file)
		script := strings.Join([]string{
			"set -e", "mount --bind " + file + " " + file, save, "umount " + file,
			"mount --bind " + dir + " " + dir, "mount -o remount,ro,bind " + dir, save,
		}, "\n")
		out, err := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-c", script).CombinedOutput()
		if strings.Contains(string(out), "unshare:") || strings.Contains(string(out), "mount:") {
			t.Logf("no mounts here, see TestCannotRename and TestAdvice: %v, %s", err, out)
			return
		}
		for _, part := range []string{"mount its folder", "mounted read-only"} {
			if !strings.Contains(string(out), part) {
				t.Errorf("no %q in %s", part, out)
			}
		}
	})
}

// openUp lets other users go through folder and the folders above it.
func openUp(t *testing.T, folder string) {
	t.Helper()
	for ; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// asNobody runs TestRole with the given role as the user nobody, in another process.
func asNobody(t *testing.T, role, path string) (out string, err error) {
	t.Helper()
	openUp(t, filepath.Dir(filepath.Dir(path)))
	program := filepath.Join(os.TempDir(), "keyfile-test-"+filepath.Base(t.TempDir()))
	data, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(program) //nolint:errcheck // it is in a temporary folder
	c := exec.CommandContext(t.Context(), program, "-test.run=^TestRole$")
	c.Env = []string{"KEYFILE_ROLE=" + role, "KEYFILE_PATH=" + path, "HOME=/"}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	b, err := c.CombinedOutput()
	return string(b), err
}

// TestRole is the main program of the processes that TestAsRoot starts.
func TestRole(t *testing.T) {
	role, path := os.Getenv("KEYFILE_ROLE"), os.Getenv("KEYFILE_PATH")
	if role == "" {
		return
	}
	s := New(path, false)
	_, version, err := s.Load(t.Context())
	if err == nil && role == "save" {
		_, err = s.Save(t.Context(), []byte("by another process"), version)
	}
	if err != nil {
		e := (*Error)(nil)
		t.Fatalf("%v: permanent %v", err, errors.As(err, &e) && e.Permanent())
	}
}
