//go:build root && linux

package main

import (
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const service, members, reader = 64101, 64102, 64103 // the user of a service, a group that its file may have, and a reader in it

// asRoot returns an operator who runs commands as another user of the machine, in a folder that only root can write in, and
// what systemd is told.
func asRoot(t *testing.T) (o *operator, told *text) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv("ESPER_TEST_MOUNTS") != "private" {
		t.Fatal("this test needs root, and mounts of its own: use make files-root")
	}
	o = newOperator(t)
	must(t, syscall.Mount("srv", "/srv", "tmpfs", 0, "mode=0755"))
	t.Cleanup(func() { must(t, syscall.Unmount("/srv", syscall.MNT_DETACH)) })
	program, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile("/srv/esper-key", program, 0o755))
	o.folder = "/srv"
	told = o.systemd(time.Minute, false)
	must(t, os.Chmod("/srv/notify", 0o666))
	return o, told
}

// as runs a command as a user, with the server's key on standard input. It ends run with SIGTERM as soon as that is ready.
func (o *operator) as(user int, told *text, args ...string) *process {
	o.t.Helper()
	cmd := o.command(args...)
	cmd.Path = "/srv/esper-key"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user), Groups: []uint32{members}}}
	cmd.Stdin = strings.NewReader(o.server.Token())
	ready := strings.Count(told.String(), "READY=1")
	p := o.begin(cmd)
	for {
		select {
		case <-p.ended:
			return p.end()
		case <-time.After(10 * time.Millisecond):
			if strings.Count(told.String(), "READY=1") > ready {
				_ = p.cmd.Process.Signal(syscall.SIGTERM)
			}
		}
	}
}

// folderOf makes a folder of a user.
func folderOf(t *testing.T, path string, user int) {
	t.Helper()
	must(t, os.Mkdir(path, 0o750))
	must(t, os.Chown(path, user, members))
}

// TestRootStores runs the command as root and as the user of a service. Its store, or its file of --write-token, is a file
// that root has mounted, restored or opened to others. `make files-root` runs it as root, in mounts of its own.
func TestRootStores(t *testing.T) {
	steps := []struct {
		before string // what root does; $0 is the folder
		user   int    // who then renews the key, or only reads it if this is the reader
		code   int
		text   string // in what the command says
	}{
		{"", 0, 0, ""}, // root begins, then the service starts
		{"", service, 0, ""},
		// A reader gets advice for readers, and then the key, on a read-only mount too.
		{"chmod 0700 $0", reader, exitFailed, "let this user join their group"},
		{"chmod 0750 $0", reader, exitFailed, "let this user join their group"},
		{"chown 64101:64102 $0/key; chmod 0640 $0/key", reader, 0, ""},
		{"mount --bind $0 $0; mount -o remount,bind,ro $0", reader, 0, ""},
		{"", service, exitFailed, "mounted read-only"},
		// A file that is mounted by itself, as in two containers, is refused.
		{"umount $0; mount --bind $0/key $0/key", service, exitFailed, "mount its folder"},
		{"umount $0/key", service, 0, ""},
		// Root has restored the file.
		{"chown 0:0 $0/key; chmod 0600 $0/key", service, exitFailed, "chown 64101"},
		{"", 0, 0, ""},
		{"chown 64101:64102 $0/key", service, 0, ""},
		// Others can replace the file, or put a journal beside it.
		{"touch $0/another; chmod 0777 $0", service, exitFailed, "others could replace the file"},
		{"chmod 0750 $0", service, 0, ""},
	}
	for _, kind := range []string{"file", "sqlite", "write-token"} {
		o, told := asRoot(t)
		folder := "/srv/" + kind
		folderOf(t, folder, service)
		o.store = kind + "://" + folder + "/key"
		if kind == "write-token" {
			folderOf(t, "/srv/keys", service)
			o.store = "file:///srv/keys/key"
		}
		o.as(0, told, "adopt").wants(0)
		for _, step := range steps {
			out, err := exec.CommandContext(t.Context(), "sh", "-euc", step.before, folder).CombinedOutput()
			must(t, err, string(out))
			commands, codes := []string{"renew --now"}, map[string]int{}
			switch {
			case kind == "write-token" && step.user == reader:
				continue
			case kind == "write-token":
				o.as(service, told, "renew", "--now").wants(0) // so that the file does not hold the key
				commands[0] = "run --write-token " + folder + "/key"
			case step.user == reader && step.code == 0:
				commands, step.text = []string{"token --read-only"}, o.server.Token()
			case step.user == reader:
				commands, codes["check"] = []string{"token --read-only", "show", "check"}, stateUnknown
			}
			for _, command := range commands {
				renewed := o.posts()
				p, want := o.as(step.user, told, strings.Fields(command)...), cmp.Or(codes[command], step.code)
				if said := p.stdout + p.stderr; p.code != want || !strings.Contains(said, step.text) || strings.Contains(said, "primary") || want != 0 && o.posts() > renewed {
					t.Errorf("%s, %s: %q as %d: exit code %d, %d renewals, %s\nwant %d, %q", kind, step.before, command, step.user, p.code, o.posts()-renewed, said, want, step.text)
				}
			}
			if kind == "write-token" && (read(folder+"/key") == o.server.Token()) != (step.code == 0) {
				t.Errorf("%s: the file has the key: %t", step.before, step.code != 0)
			}
		}
	}
}

// TestRootFilter runs the commands of the systemd units under the units' filters of system calls, which systemd would set.
// They allow no change of an owner: the save goes on without the file's group, and says so.
func TestRootFilter(t *testing.T) {
	if calls := os.Getenv("ESPER_TEST_CALLS"); calls != "" { // in the process of the user
		allowOnly(t, strings.Fields(calls))
		t.Setenv(actEnv, "1")
		must(t, syscall.Exec("/proc/self/exe", append([]string{"esper-key"}, strings.Fields(os.Getenv("ESPER_TEST_ARGS"))...), os.Environ()))
	}
	o, told := asRoot(t)
	folderOf(t, "/srv/keys", service)
	o.store = "file:///srv/keys/key"
	for _, row := range []struct {
		unit, args string
		lost       bool // the file's group
	}{
		{"esper-key-renew.service", "adopt", false},
		{"esper-key-renew.service", "renew --now", true},
		{"esper-key-renew.service", "renew --now", false}, // it has no other group any more
		{"esper-key.service", "run --listen 127.0.0.1:0 --write-token /srv/keys/token", false},
		{"esper-key.service", "check", false},
	} {
		calls := strings.Join(allowed(t, filepath.Join(deploy, "systemd", row.unit)), " ")
		o.env = []string{actEnv + "=", "ESPER_TEST_CALLS=" + calls, "ESPER_TEST_ARGS=" + row.args, "NOTIFY_SOCKET=/srv/notify"}
		p := o.as(service, told, "-test.run=^TestRootFilter$")
		if p.code != 0 || strings.Contains(p.stderr, "could not be given to its group (64102)") != row.lost {
			t.Errorf("%s under the filter of %s: %d, %s\nthe group is to be lost: %v", row.args, row.unit, p.code, p.stderr, row.lost)
		}
		if row.args == "adopt" {
			must(t, os.Chown("/srv/keys/key", service, members))
			must(t, os.Chmod("/srv/keys/key", 0o640))
		}
	}
}

// allowed returns the numbers of the system calls that a unit's filter allows.
func allowed(t *testing.T, unit string) (numbers []string) {
	t.Helper()
	text := read(unit)
	header := read("/usr/include/" + map[string]string{"amd64": "x86_64-linux-gnu/asm/unistd_64.h", "arm64": "asm-generic/unistd.h"}[runtime.GOARCH])
	calls := callsOf(t, "@default")
	for _, line := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllStringSubmatch(text, -1) {
		for name := range strings.FieldsSeq(line[2]) {
			for call := range callsOf(t, name) {
				if calls[call] = true; line[1] == "~" && !callsOf(t, "@default")[call] {
					delete(calls, call)
				}
			}
		}
	}
	for _, found := range regexp.MustCompile(`#define __NR_(\w+)\s+(\d+)`).FindAllStringSubmatch(header, -1) {
		if calls[found[1]] {
			numbers = append(numbers, found[2])
		}
	}
	if !strings.Contains(text, "\nSystemCallErrorNumber=EPERM\n") || calls["fchown"] || len(numbers) < 100 {
		t.Fatalf("%s allows fchown, or %d system calls, or kills a process that makes another", unit, len(numbers))
	}
	return numbers
}

// callsOf returns the system calls of a group of systemd, such as @system-service.
func callsOf(t *testing.T, group string) map[string]bool {
	t.Helper()
	if group[0] != '@' {
		return map[string]bool{group: true}
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "--no-pager", "syscall-filter", group).Output()
	must(t, err)
	calls := make(map[string]bool)
	for _, line := range strings.Split(string(out), "\n")[1:] {
		if name := strings.TrimSpace(line); name != "" && name[0] != '#' {
			maps.Copy(calls, callsOf(t, name))
		}
	}
	return calls
}

// allowOnly makes each other system call of this process fail with EPERM.
func allowOnly(t *testing.T, calls []string) {
	t.Helper()
	code := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for _, call := range calls {
		n, err := strconv.ParseUint(call, 10, 32)
		must(t, err)
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	}
	code = append(code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	runtime.LockOSThread()
	must(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		t.Fatal(errno)
	}
}
