//go:build root && linux

package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
// The error names what is wrong, and says what to do about what was asked.
func TestRefused(t *testing.T) {
	const replace, hers = "others could replace the file", "belongs to another user (64104), who could replace the file"
	for name, row := range map[string]struct {
		there string // folders (PATH/ OWNER MODE), files (PATH OWNER MODE) and links (PATH>TARGET OWNER), one a line
		path  string
		user  int
		role  string
		want  string
	}{
		"another's file in a sticky folder":                            {"tmp/ 0 1777\ntmp/key 64104 644", "tmp/key", 0, "save", "it belongs to another user (64104)"},
		"another's file in a sticky folder, for a user":                {"tmp/ 0 1777\ntmp/key 64104 644", "tmp/key", service, "save", "it belongs to another user (64104)"},
		"a sticky folder of another's":                                 {"tmp/ 64104 1777", "tmp/key", service, "save", hers},
		"another's dangling link in a sticky folder":                   {"tmp/ 0 1777\nhers/ 64104 700\ntmp/key>hers/key 64104", "tmp/key", 0, "save", replace},
		"another's dangling link to root's folder":                     {"tmp/ 0 1777\netc/ 0 755\ntmp/key>etc/key 64104", "tmp/key", 0, "save", "the link"},
		"another's folder in a sticky folder":                          {"tmp/ 0 1777\ntmp/esper/ 64104 700", "tmp/esper/key", 0, "save", replace},
		"a folder above is another's":                                  {"hers/ 64104 755\nhers/esper/ 0 700", "hers/esper/key", 0, "save", hers},
		"a folder above is another's, for a service":                   {"hers/ 64104 755\nhers/esper/ 64101 700", "hers/esper/key", 0, "save", hers},
		"others can write above":                                       {"all/ 0 777\nall/esper/ 0 700", "all/esper/key", 0, "save", replace},
		"the service leads root elsewhere":                             {"service/ 64101 700\netc/ 0 755\nservice/key>etc/key 64101", "service/key", 0, "save", "the folder"},
		"another's lock":                                               {"tmp/ 0 1777\ntmp/key.lock 64104 666", "tmp/key", 0, "save alone", "its lock, the file key.lock beside it, belongs to another user (64104)"},
		"root's lock":                                                  {"service/ 64101 755\nservice/key.lock 0 600", "service/key", service, "save alone", "its lock, the file key.lock beside it"},
		"a file that root has restored":                                {"service/ 64101 755\nservice/key 0 644", "service/key", service, "save alone", "or give the file to this one (chown 64101)"},
		"a file that root has restored, and that nobody else may read": {"service/ 64101 755\nservice/key 0 600", "service/key", service, "load", "give it to this one (chown 64101), who owns the folder"},
		"root's folder":                                                {"roots/ 0 755", "roots/key", service, "save", "set StateDirectory="},
		"a reader without a right":                                     {"service/ 64101 755\nservice/key 64101 600", "service/key", reader, "load", "let this user join their group"},
		"a reader of a database without a right":                       {"service/ 64101 755\nservice/key 64101 600", "service/key", reader, "read the database", "let this user join their group"},
		"a database that root has restored":                            {"service/ 64101 755\nservice/key 0 600", "service/key", service, "write the database", "give it to this one (chown 64101), who owns the folder"},
		"a reader that wants to write":                                 {"service/ 64101 755\nservice/key 64101 600", "service/key", reader, "inspect", "belongs to another user (64101)"},
	} {
		t.Run(name, func(t *testing.T) {
			at := ground(t)
			for line := range strings.Lines(row.there) {
				words := strings.Fields(line)
				path, to, _ := strings.Cut(filepath.Join(at, words[0]), ">")
				owner, err := strconv.Atoi(words[1])
				must(t, err)
				switch {
				case to != "":
					must(t, os.Symlink(filepath.Join(at, to), path), os.Lchown(path, owner, owner))
					continue
				case strings.HasSuffix(words[0], "/"):
					must(t, os.Mkdir(path, 0o700))
				default:
					must(t, os.WriteFile(path, []byte("x"), 0o600))
				}
				perm, err := strconv.ParseUint(words[2], 8, 32)
				must(t, err, os.Chown(path, owner, owner), syscall.Chmod(path, uint32(perm)))
			}
			path := filepath.Join(at, row.path)
			before := tree(t, at)
			got := as(t, row.user, row.role, path)
			if !strings.Contains(got, row.want) || !strings.Contains(got, "permanent true") {
				t.Errorf("%q\nwant %q", got, row.want)
			}
			if advice := strings.Contains(got, "StateDirectory="); advice != (name == "root's folder") {
				t.Errorf("to let this user write in the folder helps if that is missing, and only then: %q", got)
			}
			if row.role != "save" { // with another role, the place itself is as it should be
				return
			}
			if got := as(t, row.user, "inspect", path); name != "root's folder" && !strings.Contains(got, row.want) {
				t.Errorf("Inspect: %q", got)
			}
			if got := as(t, row.user, "write the database", path); !strings.Contains(got, "permanent true") {
				t.Errorf("a database: %q", got)
			}
			if after := tree(t, at); after != before {
				t.Errorf("something was made: %s\nbefore: %s", after, before)
			}
		})
	}
}

// tree returns the names of all that lies in a folder.
func tree(t *testing.T, at string) (names string) {
	t.Helper()
	must(t, filepath.WalkDir(at, func(path string, _ fs.DirEntry, err error) error {
		names += path + " "
		return err
	}))
	return names
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
		path: "64101:64101 0600", path + ".lock": "64101:64101 0600", filepath.Dir(path): "64101:64101 0700",
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
	// What looks like another user's finished save is none.
	shared := folder(t, at+"/tmp", 0, 0o777|fs.ModeSticky) + "/key.json"
	planted := nextName(shared, nil, []byte("x"))
	must(t, os.WriteFile(planted, []byte("x"), 0o600), os.Chmod(planted, 0o644), os.Chown(planted, mallory, mallory))
	if got := as(t, service, "save", shared); got != "" || owned(t, shared) != "64101:64101 0600" || owned(t, planted) != "64104:64104 0644" {
		t.Errorf("beside another user's file: %s, %s, %q", owned(t, shared), owned(t, planted), got)
	}
	db := at + "/service/db/keys.db"
	if got := as(t, 0, "write the database", db); got != "" || owned(t, db) != "64101:64101 0600" {
		t.Errorf("the database of a service: %s, %s", owned(t, db), got)
	}
}

// TestMounts mounts a file by itself, and makes volumes as the kubelet does. What a mount does to a command is in the
// tests of esper-key.
func TestMounts(t *testing.T) {
	at := ground(t)
	path := folder(t, at+"/service", service, 0o755) + "/key.json"
	must(t, os.WriteFile(path, []byte("x"), 0o600), os.Chown(path, service, service), unix.Mount(path, path, "", unix.MS_BIND, ""))
	for role, want := range map[string]string{
		"save": "mount its folder", "inspect": "mount its folder", "write the database": "mount its folder", "read the database": "mount its folder",
		"inspect to read": "nor seen when another process replaces it", // a warning
	} {
		if got := as(t, service, role, path); !strings.Contains(got, want) || strings.Contains(got, "permanent true") != (role != "inspect to read") {
			t.Errorf("%s of a file that is mounted by itself: %q", role, got)
		}
	}
	if left, _ := os.ReadDir(at + "/service"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	must(t, unix.Unmount(path, 0))

	volume := folder(t, at+"/volume", 0, 0o755)
	must(t, unix.Mount("volume", volume, "tmpfs", 0, "mode=0777"))
	must(t, os.WriteFile(volume+"/key.json", []byte("x"), 0o600)) // the volume is no folder of its own, although nothing else is in it
	if got := as(t, 0, "save", volume+"/key.json"); !strings.Contains(got, "others could replace the file") {
		t.Errorf("root in a volume of everybody's: %q", got)
	}
	must(t, os.Remove(volume+"/key.json"))
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
