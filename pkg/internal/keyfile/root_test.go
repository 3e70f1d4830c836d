//go:build root && linux

package keyfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The users of these tests: the service for which root acts (64101), a program that reads (64103), and an attacker
// (64104). The service and the reader are in the group 64102. No machine has them. In the container, the service is root.
const service, reader, readers, container = 64101, 64103, 64102, -1

// ground is a folder above which only root can write, which no folder for temporary files is.
const ground = "/srv/x/"

// lay makes ground anew, and in it folders (PATH/ OWNER MODE), files (PATH OWNER MODE), links (PATH>TARGET OWNER) and
// volumes (PATH/ volume MODE), one a line. OWNER is USER:GROUP, or one number for both. PATH alone mounts a file by itself.
func lay(t *testing.T, there string) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv("ESPER_TEST_MOUNTS") != "private" {
		t.Fatal("this test needs root, and mounts of its own: use make files-root")
	}
	must(t, os.MkdirAll("/srv", 0o755), unix.Mount("ground", "/srv", "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { _ = unix.Unmount("/srv", unix.MNT_DETACH) })
	program, err := os.ReadFile(os.Args[0])
	must(t, err, os.WriteFile("/srv/program", program, 0o755), os.Mkdir(ground, 0o755))
	shell(t, there, `while read -r path owner mode || [ -n "$path" ]; do
		case $path,$owner in
		*,) mount --bind "$path" "$path" && continue ;;
		*,volume) mkdir "$path" && mount -t tmpfs -o "mode=$mode" volume "$path" && continue ;;
		*">"*) ln -s "$PWD/${path#*>}" "${path%>*}" ;;
		*/,*) mkdir "$path" ;;
		*) printf x >"$path" ;;
		esac
		chown -h "${owner%:*}:${owner#*:}" "${path%>*}"
		[ -z "$mode" ] || chmod "$mode" "$path"
	done`)
}

// tree returns all that lies in ground, but for links, in the form that lay takes.
func tree(t *testing.T) string {
	t.Helper()
	return shell(t, "", `find * -type d -printf "%p/ %U:%G 0%m\n" -o -type f -printf "%p %U:%G 0%m\n" |
		sed -E 's/ ([0-9]+):\1 / \1 /' | LC_ALL=C sort`)
}

func shell(t *testing.T, input, script string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-euc", script)
	c.Dir, c.Stdin = ground, strings.NewReader(input)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	return string(out)
}

// as runs TestRole in a process of another user, and returns its warnings and its error.
func as(t *testing.T, user int, role, path string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/srv/program", "-test.run=^TestRole$")
	c.Env = []string{"KEYFILE_ROLE=" + role, "KEYFILE_PATH=" + path}
	c.Dir, c.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user), Groups: []uint32{readers}}}
	if user == container {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: service, Size: 1}}
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Credential: &syscall.Credential{}}
	}
	out, err := c.CombinedOutput()
	text, _, passed := strings.Cut(string(out), "PASS\n")
	if err != nil || !passed {
		t.Fatalf("%s: %v, %s", role, err, out)
	}
	return strings.TrimSpace(text)
}

// TestRole is the main program of the processes that as starts. It prints its warnings and its error.
func TestRole(t *testing.T) {
	role, path := os.Getenv("KEYFILE_ROLE"), os.Getenv("KEYFILE_PATH")
	if role == "" {
		return
	}
	s, err := New(path, false), error(nil)
	switch role {
	case "load", "save":
		var version string
		if _, version, err = s.Load(t.Context()); err == nil && role == "save" {
			_, err = s.Save(t.Context(), []byte("by another process"), version)
		}
	case "open the database", "read the database":
		s = Database(path)
		fallthrough
	default:
		err = s.Inspect(t.Context(), strings.HasPrefix(role, "read"))
	}
	for _, warning := range s.Warnings() {
		fmt.Println("warning:", strings.TrimPrefix(warning, path+": "))
	}
	if err != nil {
		e := (*Error)(nil)
		fmt.Printf("%v (permanent %v)\n", err, errors.As(err, &e) && e.Permanent())
	}
}

// TestOwners: nobody but root, this user and the service for which root acts gets the file, or leads root elsewhere.
// The error names what is wrong, and says what to do about what was asked. What root makes is the service's, and what
// is there stays its owner's and its group's.
func TestOwners(t *testing.T) {
	const (
		replace = "others could replace the file"
		hers    = "belongs to another user (64104), who could replace the file"
		all     = "save, open, open the database" // all have the same error
		kept    = "service/ 64101 0755\nservice/key 64101:64102 0640\nservice/key.lock 64101 0600\n"
	)
	planted := "tmp/" + nextName("key", nil, []byte("x")) // looks as if a save had finished
	for name, row := range map[string]struct {
		there string
		path  string
		user  int
		role  string
		want  string // what the error or the warning says; there is none if this is empty
		after string // what lies there then, among others; what lay there before if this is empty
	}{
		"another's file in a sticky folder":             {"tmp/ 0 01777\ntmp/key 64104 0644", "tmp/key", 0, "save, open", "it belongs to another user (64104)", ""},
		"another's file in a sticky folder, for a user": {"tmp/ 0 01777\ntmp/key 64104 0644", "tmp/key", service, "save, open", "it belongs to another user (64104)", ""},
		"a sticky folder of another's":                  {"tmp/ 64104 01777", "tmp/key", service, all, hers, ""},
		"another's dangling link in a sticky folder":    {"tmp/ 0 01777\nhers/ 64104 0700\ntmp/key>hers/key 64104", "tmp/key", 0, all, replace, ""},
		"another's dangling link to root's folder":      {"tmp/ 0 01777\netc/ 0 0755\ntmp/key>etc/key 64104", "tmp/key", 0, all, "the link", ""},
		"another's folder in a sticky folder":           {"tmp/ 0 01777\ntmp/esper/ 64104 0700", "tmp/esper/key", 0, all, replace, ""},
		"a folder above is another's":                   {"hers/ 64104 0755\nhers/esper/ 0 0700", "hers/esper/key", 0, all, hers, ""},
		"a folder above is another's, for a service":    {"hers/ 64104 0755\nhers/esper/ 64101 0700", "hers/esper/key", 0, all, hers, ""},
		"others can write above":                        {"all/ 0 0777\nall/esper/ 0 0700", "all/esper/key", 0, all, replace, ""},
		"the service leads root elsewhere":              {"service/ 64101 0700\netc/ 0 0755\nservice/key>etc/key 64101", "service/key", 0, all, "the folder", ""},
		"a reader that wants to write":                  {"service/ 64101 0755\nservice/key 64101 0600", "service/key", reader, "open", "belongs to another user (64101)", ""},
		"another's lock":                                {"tmp/ 0 01777\ntmp/key.lock 64104 0666", "tmp/key", 0, "save", "its lock, the file key.lock beside it, belongs to another user (64104)", ""},
		"root's lock":                                   {"service/ 64101 0755\nservice/key.lock 0 0600", "service/key", service, "save", "its lock, the file key.lock beside it", ""},
		"a file that root has restored":                 {"service/ 64101 0755\nservice/key 0 0644", "service/key", service, "save", "or give the file to this one (chown 64101)", ""},
		"one that nobody else may read":                 {"service/ 64101 0755\nservice/key 0 0600", "service/key", service, "load, open the database", "give it to this one (chown 64101), who owns the folder", ""},
		"root's folder":                                 {"roots/ 0 0755", "roots/key", service, "save", "set StateDirectory=", ""},
		"a reader without a right":                      {"service/ 64101 0755\nservice/key 64101 0600", "service/key", reader, "load, read the database", "let this user join their group", ""},

		"root begins":             {"service/ 64101 0755", "service/made/key", 0, "save", "", "service/made/ 64101 0700\nservice/made/key 64101 0600\nservice/made/key.lock 64101 0600\n"},
		"root begins a database":  {"service/ 64101 0755", "service/made/key", 0, "open the database", "", "service/made/ 64101 0700\nservice/made/key 64101 0600\n"},
		"root goes on":            {kept, "service/key", 0, "save", "", kept},
		"the service goes on":     {kept, "service/key", service, "save", "", kept},
		"a program of its group":  {kept, "service/key", reader, "load", "", kept},
		"root's link":             {kept + "link>service/key 0", "link", 0, "save", "", kept},
		"a link of the service's": {kept + "home/ 64101 0755\nhome/link>service/key 64101", "home/link", 0, "save", "", kept},
		"a group that is not its": {"service/ 64101 0755\nservice/key 64101:64999 0640", "service/key", service, "save", "warning: it could not be given to its group (64999) again", "service/key 64101 0600\n"},
		"another's next file":     {"tmp/ 0 01777\n" + planted + " 64104 0644", "tmp/key", service, "save", "", "tmp/key 64101 0600\ntmp/key.lock 64101 0600\n" + planted + " 64104 0644\n"},

		"a file that is mounted by itself":  {kept + "service/key\n", "service/key", service, all + ", read the database", "mount its folder", ""},
		"a reader of such a file":           {kept + "service/key\n", "service/key", reader, "read", "warning: " + mountedAlone, ""},
		"root in everybody's volume":        {"all/ volume 0777\nall/key 64101 0600", "all/key", 0, "save", replace, ""},
		"the service in everybody's volume": {"all/ volume 0777\nall/key 64101 0600", "all/key", service, "save", "a folder of its own below it", ""},
		"a folder of its own there":         {"all/ volume 0777", "all/own/key", service, "save", "", "all/own/ 64101 0700\nall/own/key 64101 0600\n"},
		"root's own folder there":           {"all/ volume 0777", "all/own/key", 0, "save", "warning: " + replace, "all/own/ 0 0700\nall/own/key 0 0600\n"},
		"root's own folder in a sticky one": {"tmp/ volume 01777", "tmp/own/key", 0, "save", "", "tmp/own/ 0 0700\ntmp/own/key 0 0600\n"},
		"the service's folder there":        {"tmp/ volume 01777\ntmp/own/ 64101 0700", "tmp/own/key", 0, "save", replace, ""},
		"the service's link there":          {"tmp/ volume 01777\ntmp/own/ 64101 0700\ntmp/key>tmp/own/key 64101", "tmp/key", 0, "save", replace, ""},
		"a folder of nobody in a container": {"hers/ 64104 0755\nhers/own/ 64101 0700", "hers/own/key", container, "save", "warning: the folder /srv/x/hers belongs to a user whom this container does not know", "hers/own/key 64101 0600\n"},
	} {
		t.Run(name, func(t *testing.T) {
			lay(t, row.there)
			before := tree(t)
			for role := range strings.SplitSeq(row.role, ", ") {
				got := as(t, row.user, role, ground+row.path)
				refused, warned := strings.Contains(got, "permanent true"), strings.Contains(row.want, "warning")
				if !strings.Contains(got, row.want) || (got == "") != (row.want == "") || refused == (warned || row.want == "") {
					t.Errorf("%s: %q\nwant %q", role, got, row.want)
				}
				if advice := strings.Contains(got, "StateDirectory="); advice != (name == "root's folder") {
					t.Errorf("to let this user write in the folder helps if that is missing, and only then: %q", got)
				}
			}
			if after := tree(t); !strings.Contains(after, row.after) || row.after == "" && after != before {
				t.Errorf("it became\n%s\nwant\n%s", after, cmp.Or(row.after, before))
			}
		})
	}
}
