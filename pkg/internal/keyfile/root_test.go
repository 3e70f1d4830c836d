//go:build root && linux

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The users of these tests: the service for which root acts, its group, a program that reads, and an attacker. No
// machine has them.
const service, readers, reader, mallory = 64101, 64102, 64103, 64104

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// ground returns a new folder above which only root can write, which no folder for temporary files is.
func ground(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv("ESPER_TEST_MOUNTS") != "private" {
		t.Fatal("this test needs root, and mounts of its own: use make files-root")
	}
	const at = "/srv"
	must(t, os.MkdirAll(at, 0o755), unix.Mount("ground", at, "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	program, err := os.ReadFile(os.Args[0])
	must(t, err, os.WriteFile(filepath.Join(at, "program"), program, 0o755), os.Mkdir(filepath.Join(at, "x"), 0o755))
	return filepath.Join(at, "x")
}

func folder(t *testing.T, path string, owner int, perm fs.FileMode) string {
	t.Helper()
	must(t, os.MkdirAll(path, 0o755), os.Chown(path, owner, owner), os.Chmod(path, perm))
	return path
}

func file(t *testing.T, path string, owner int, perm fs.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte("x"), 0o600), os.Chown(path, owner, owner), os.Chmod(path, perm))
}

func owned(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	uid, gid := ownerOf(info)
	return fmt.Sprintf("%d:%d %#o", uid, gid, info.Mode().Perm())
}

// as runs TestRole in a process of another user, and returns its error, or "".
func as(t *testing.T, user int, role, path string, groups ...uint32) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/srv/program", "-test.run=^TestRole$")
	c.Env = []string{"KEYFILE_ROLE=" + role, "KEYFILE_PATH=" + path}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user), Groups: groups}}
	out, err := c.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(out), "\nPASS")
	if text = strings.TrimPrefix(text, "PASS"); err != nil && text == "" {
		t.Fatalf("%s: %v", role, err)
	}
	return strings.TrimSpace(text)
}

// TestRole is the main program of the processes that as starts. It prints its warnings and its error.
func TestRole(t *testing.T) {
	role, path := os.Getenv("KEYFILE_ROLE"), os.Getenv("KEYFILE_PATH")
	if role == "" {
		return
	}
	s := New(path, strings.Contains(role, "for the group"))
	_, version, err := s.Load(t.Context())
	switch {
	case strings.HasPrefix(role, "inspect"):
		err = s.Inspect(t.Context(), strings.Contains(role, "to read"))
	case role == "read the database":
		err = Database(path).Inspect(t.Context(), true)
	case role == "write the database":
		err = Database(path).Inspect(t.Context(), false)
	case err == nil && role != "load":
		_, err = s.Save(t.Context(), []byte("by another process"), version)
	}
	for _, warning := range s.Warnings() {
		fmt.Println(warning)
	}
	if err != nil {
		e := (*Error)(nil)
		fmt.Printf("%v (permanent %v)\n", err, errors.As(err, &e) && e.Permanent())
	}
}

// TestRefused: nobody but root, this user and the service for which root acts gets the file, or leads root elsewhere.
func TestRefused(t *testing.T) {
	theirs := func(t *testing.T, at string) string {
		folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky)
		file(t, at+"/tmp/key.json", mallory, 0o644)
		return at + "/tmp/key.json"
	}
	for name, test := range map[string]struct {
		set  func(t *testing.T, at string) (path string)
		user int
		want string
	}{
		"another's file in a sticky folder":             {theirs, 0, "it belongs to another user (64104)"},
		"another's file in a sticky folder, for a user": {theirs, service, "it belongs to another user (64104)"},
		"a sticky folder of another's": {func(t *testing.T, at string) string {
			return folder(t, at+"/tmp", mallory, 0o777|fs.ModeSticky) + "/key.json"
		}, service, "belongs to another user (64104), who could replace the file"},
		"another's dangling link in a sticky folder": {func(t *testing.T, at string) string {
			folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky)
			folder(t, at+"/hers", mallory, 0o700)
			must(t, os.Symlink(at+"/hers/key.json", at+"/tmp/key.json"), os.Lchown(at+"/tmp/key.json", mallory, mallory))
			return at + "/tmp/key.json"
		}, 0, "others could replace the file"},
		"another's folder in a sticky folder": {func(t *testing.T, at string) string {
			folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky)
			return folder(t, at+"/tmp/esper", mallory, 0o700) + "/key.json"
		}, 0, "others could replace the file"},
		"a folder above is another's": {func(t *testing.T, at string) string {
			folder(t, at+"/hers", mallory, 0o755)
			return folder(t, at+"/hers/esper", 0, 0o700) + "/key.json"
		}, 0, "belongs to another user (64104), who could replace the file"},
		"a folder above is another's, for a service": {func(t *testing.T, at string) string {
			folder(t, at+"/hers", mallory, 0o755)
			return folder(t, at+"/hers/esper", service, 0o700) + "/key.json"
		}, 0, "belongs to another user (64104), who could replace the file"},
		"others can write above": {func(t *testing.T, at string) string {
			folder(t, at+"/all", 0, 0o777)
			return folder(t, at+"/all/esper", 0, 0o700) + "/key.json"
		}, 0, "others could replace the file"},
		"the service leads root elsewhere": {func(t *testing.T, at string) string {
			folder(t, at+"/service", service, 0o700)
			folder(t, at+"/etc", 0, 0o755)
			must(t, os.Symlink(at+"/etc/key", at+"/service/key.json"), os.Lchown(at+"/service/key.json", service, service))
			return at + "/service/key.json"
		}, 0, "the folder"},
		"another's dangling link to root's folder": {func(t *testing.T, at string) string {
			folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky)
			folder(t, at+"/etc", 0, 0o755)
			must(t, os.Symlink(at+"/etc/key", at+"/tmp/key.json"), os.Lchown(at+"/tmp/key.json", mallory, mallory))
			return at + "/tmp/key.json"
		}, 0, "the link"},
		"another's lock": {func(t *testing.T, at string) string {
			folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky)
			file(t, at+"/tmp/key.json.lock", mallory, 0o666)
			return at + "/tmp/key.json"
		}, 0, "its lock, the file key.json.lock beside it, belongs to another user (64104)"},
	} {
		t.Run(name, func(t *testing.T) {
			at := ground(t)
			path := test.set(t, at)
			if got := as(t, test.user, "save", path); !strings.Contains(got, test.want) || !strings.Contains(got, "permanent true") {
				t.Errorf("%q\nwant %q", got, test.want)
			}
			for _, left := range []string{"/hers/key.json", "/etc/key", "/hers/esper/key.json", "/tmp/esper/key.json", "/all/esper/key.json"} {
				if exists(at + left) {
					t.Errorf("%s was made", left)
				}
			}
			if name != "another's lock" {
				if Database(path).Inspect(t.Context(), false) == nil {
					t.Error("Database takes it")
				}
				if got := as(t, test.user, "inspect", path); !strings.Contains(got, test.want) {
					t.Errorf("Inspect: %q", got)
				}
			}
		})
	}
}

// What root makes is the service's, and what is there stays its owner's and its group's.
func TestOwners(t *testing.T) {
	at := ground(t)
	path := folder(t, at+"/service", service, 0o755) + "/made/key.json"
	for range 2 {
		if got := as(t, 0, "save", path); got != "" {
			t.Fatal(got)
		}
	}
	for path, want := range map[string]string{
		path: "64101:64101 0600", lockName(place{target: path}): "64101:64101 0600", filepath.Dir(path): "64101:64101 0700",
	} {
		if got := owned(t, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := as(t, service, "save", path); got != "" {
		t.Errorf("the service cannot save afterwards: %s", got)
	}
	// Programs of another group may read.
	must(t, os.Chown(path, service, readers), os.Chmod(path, 0o640), os.Chmod(filepath.Dir(path), 0o755))
	for user, groups := range map[int][]uint32{0: nil, service: {readers}} {
		if got := as(t, user, "save", path, groups...); got != "" || owned(t, path) != "64101:64102 0640" {
			t.Errorf("user %d: %s, %s", user, owned(t, path), got)
		}
	}
	if got := as(t, reader, "load", path, readers); got != "" {
		t.Errorf("a reader: %s", got)
	}
	// The link is root's, and leads to a folder of the service's.
	must(t, os.Symlink(path, at+"/link"))
	if got := as(t, 0, "save", at+"/link"); got != "" || owned(t, path) != "64101:64102 0640" {
		t.Errorf("through a link: %s, %s", owned(t, path), got)
	}
	db := at + "/service/db/keys.db"
	if got := as(t, 0, "write the database", db); got != "" || owned(t, db) != "64101:64101 0600" {
		t.Errorf("the database of a service: %s, %s", owned(t, db), got)
	}
}

// TestAdviceForOthers: whoever reads is told how to read, and whoever writes, how to write.
func TestAdviceForOthers(t *testing.T) {
	at := ground(t)
	path := folder(t, at+"/service", service, 0o750) + "/key.json"
	file(t, path, service, 0o600)
	db := at + "/service/keys.db"
	file(t, db, service, 0o600)
	const toRead, toWrite = "let this user join their group", "StateDirectory="
	check := func(user int, role, path, want, not string) {
		t.Helper()
		if got := as(t, user, role, path); !strings.Contains(got, want) || strings.Contains(got, not) || !strings.Contains(got, path) || !strings.Contains(got, "permanent true") {
			t.Errorf("%s: %q\nwant %q", role, got, want)
		}
	}
	for role, path := range map[string]string{"load": path, "inspect to read": path, "read the database": db} {
		check(reader, role, path, toRead, toWrite)
	}
	must(t, os.Chmod(at+"/service", 0o755))
	check(reader, "load", path, toRead, toWrite)
	check(reader, "inspect", path, "belongs to another user (64101)", toRead)
	check(service, "save", folder(t, at+"/roots", 0, 0o755)+"/key.json", toWrite, toRead)
	// Root has restored the file, or taken a lock.
	file(t, path, 0, 0o600)
	file(t, db, 0, 0o600)
	check(service, "load", path, "chown 64101", toWrite)
	check(service, "read the database", db, "chown 64101", toWrite)
	check(service, "write the database", db, "chown 64101", toWrite)
	must(t, os.Chmod(path, 0o644))
	check(service, "save", path, "chown 64101", toWrite)
	file(t, path, service, 0o600)
	file(t, path+".lock", 0, 0o600)
	check(service, "save", path, "its lock, the file key.json.lock beside it", toWrite)
}

// TestMounts mounts a file by itself, and a folder read-only, and makes volumes as the kubelet does.
func TestMounts(t *testing.T) {
	at := ground(t)
	path := folder(t, at+"/service", service, 0o755) + "/key.json"
	file(t, path, service, 0o600)
	must(t, unix.Mount(path, path, "", unix.MS_BIND, ""))
	for _, role := range []string{"save", "inspect", "write the database", "read the database"} {
		if got := as(t, service, role, path); !strings.Contains(got, "mount its folder") || !strings.Contains(got, "permanent true") {
			t.Errorf("%s of a file that is mounted by itself: %q", role, got)
		}
	}
	if got := as(t, service, "load", path); got != "" {
		t.Errorf("Load: %q", got)
	}
	s := New(path, false)
	must(t, s.Inspect(t.Context(), true))
	if warned := s.Warnings(); len(warned) != 1 || !strings.Contains(warned[0], "nor seen when another process replaces it") {
		t.Errorf("a reader is warned of %q", warned)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	must(t, unix.Unmount(path, 0), unix.Mount(at+"/service", at+"/service", "", unix.MS_BIND, ""),
		unix.Mount("", at+"/service", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for role, want := range map[string]string{"save": "mounted read-only", "write the database": "mounted read-only", "load": "", "read the database": ""} {
		if got := as(t, service, role, path); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s on a read-only mount: %q", role, got)
		}
	}
	must(t, unix.Unmount(at+"/service", 0))

	volume := folder(t, at+"/volume", 0, 0o755)
	must(t, unix.Mount("volume", volume, "tmpfs", 0, "mode=0777"))
	if got := as(t, service, "save", volume+"/key.json"); !strings.Contains(got, "a folder of its own below it") {
		t.Errorf("in a volume of everybody's: %q", got)
	}
	for _, user := range []int{service, 0} {
		path := fmt.Sprintf("%s/of%d/key.json", volume, user)
		if got := as(t, user, "save", path); strings.Contains(got, "permanent") || (user == 0) != strings.Contains(got, "as the volume lets them") {
			t.Errorf("user %d in a folder of its own there: %q", user, got)
		}
	}
	// The pod starts again: fsGroup.
	own := fmt.Sprintf("%s/of%d", volume, service)
	for path, perm := range map[string]fs.FileMode{volume: 0o777 | fs.ModeSetgid, own: 0o770 | fs.ModeSetgid, own + "/key.json": 0o660, own + "/key.json.lock": 0o660} {
		must(t, os.Chown(path, -1, readers), os.Chmod(path, perm))
	}
	if got := as(t, service, "save", own+"/key.json", readers); strings.Contains(got, "permanent") || owned(t, own) != "64101:64102 0750" || owned(t, own+"/key.json") != "64101:64102 0600" {
		t.Errorf("after fsGroup: %s, %s, %q", owned(t, own), owned(t, own+"/key.json"), got)
	}
}

// In a user namespace, such as a container without root, the owner of a folder may be unknown. That is a warning.
func TestNamespace(t *testing.T) {
	at := ground(t)
	path := folder(t, at+"/theirs", mallory, 0o755) + "/service/key.json"
	folder(t, filepath.Dir(path), service, 0o700)
	c := exec.CommandContext(t.Context(), "/srv/program", "-test.run=^TestRole$")
	c.Env = []string{"KEYFILE_ROLE=save", "KEYFILE_PATH=" + path}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: service, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: service, Size: 1}},
		Credential:  &syscall.Credential{},
	}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "a user whom this container does not know") || strings.Contains(string(out), "permanent") || !exists(path) {
		t.Errorf("%s, %v", out, err)
	}
}
