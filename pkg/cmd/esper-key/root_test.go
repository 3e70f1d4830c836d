//go:build root && linux

package main

import (
	"bytes"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestRootStores runs the command as root and as the user of a service. Its store, or its file of --write-token, is a file
// that root has mounted, restored or opened to others. `make files-root` runs it as root, in mounts of its own.
func TestRootStores(t *testing.T) {
	const service, reader, group = 64101, 64103, 64102
	if os.Geteuid() != 0 || os.Getenv("ESPER_TEST_MOUNTS") != "private" {
		t.Fatal("this test needs root, and mounts of its own: use make files-root")
	}
	must(t, syscall.Mount("srv", "/srv", "tmpfs", 0, "mode=0755"))
	program, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile("/srv/esper-key", program, 0o755))
	for _, kind := range []string{"file", "sqlite", "write-token"} {
		server := espertest.NewServer(t)
		folder := filepath.Join("/srv", kind)
		path, store := filepath.Join(folder, "key"), kind+"://"+filepath.Join(folder, "key")
		must(t, os.Mkdir(folder, 0o750))
		must(t, os.Chown(folder, service, group))
		as := func(user, want int, text string, args ...string) {
			t.Helper()
			c := exec.CommandContext(t.Context(), "/srv/esper-key", args...)
			c.Env = []string{actEnv + "=1", environmentVariable + "=" + server.URL, storeVariable + "=" + store}
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user), Groups: []uint32{group}}}
			c.Stdin = strings.NewReader(server.Token())
			renewed := processes.Posts(server)
			out := endWhenReady(t, c)
			if code := c.ProcessState.ExitCode(); code != want || !strings.Contains(out, text) || strings.Contains(out, "primary") {
				t.Errorf("%s: %q as %d: exit code %d, %s\nwant %d, %q", kind, args, user, code, out, want, text)
			}
			if want != 0 && processes.Posts(server) > renewed {
				t.Errorf("%s: %q as %d: a renewal, although what it writes does not work", kind, args, user)
			}
		}
		write := func(user, want int, text string) {
			t.Helper()
			as(user, want, text, "renew", "--now")
		}
		read := func(want int, text string) {
			t.Helper()
			as(reader, want, text, "token", "--read-only")
			if want != 0 {
				as(reader, want, text, "show")
				as(reader, stateUnknown, text, "check")
			}
		}
		if kind == "write-token" {
			keys := folder + "-keys"
			must(t, os.Mkdir(keys, 0o750))
			must(t, os.Chown(keys, service, group))
			store = "file://" + keys + "/key"
			write = func(user, want int, text string) {
				t.Helper()
				as(service, 0, "", "renew", "--now") // so that the file does not hold the key
				as(user, want, text, "run", "--write-token", path)
				if data, err := os.ReadFile(path); err != nil || (string(data) == server.Token()) != (want == 0) {
					t.Errorf("the file has the key: %v, %v", string(data) == server.Token(), err)
				}
			}
			read = func(int, string) {}
		}

		// Root begins, then the service starts.
		as(0, 0, "", "adopt")
		write(0, 0, "")
		write(service, 0, "")
		// A reader gets advice for readers, and then the key, on a read-only mount too.
		for _, perm := range []os.FileMode{0o700, 0o750} {
			must(t, os.Chmod(folder, perm))
			read(exitFailed, "let this user join their group")
		}
		must(t, os.Chown(path, service, group))
		must(t, os.Chmod(path, 0o640))
		read(0, server.Token())
		must(t, syscall.Mount(folder, folder, "", syscall.MS_BIND, ""))
		must(t, syscall.Mount("", folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		read(0, server.Token())
		write(service, exitFailed, "mounted read-only")
		must(t, syscall.Unmount(folder, 0))
		// A file that is mounted by itself, as in two containers, is refused.
		must(t, syscall.Mount(path, path, "", syscall.MS_BIND, ""))
		write(service, exitFailed, "mount its folder")
		must(t, syscall.Unmount(path, 0))
		write(service, 0, "")
		// Root has restored the file.
		must(t, os.Chown(path, 0, 0))
		must(t, os.Chmod(path, 0o600))
		write(service, exitFailed, "chown 64101")
		as(0, 0, "", "check")
		must(t, os.Chown(path, service, group))
		write(service, 0, "")
		// Others can replace the file, or put a journal beside it.
		must(t, os.WriteFile(filepath.Join(folder, "another"), nil, 0o600))
		must(t, os.Chmod(folder, 0o777))
		write(service, exitFailed, "others could replace the file")
		must(t, os.Chmod(folder, 0o750))
		as(service, 0, "", "check")
	}
}

// TestRootFilter runs the commands of the systemd units under the units' filters of system calls, which systemd would set.
// They allow no change of an owner: the save goes on without the file's group, and says so.
func TestRootFilter(t *testing.T) {
	const service, readers = 64101, 64102
	if calls := os.Getenv("ESPER_TEST_CALLS"); calls != "" { // in the process of the user
		allowOnly(t, strings.Fields(calls))
		must(t, syscall.Exec("/proc/self/exe", append([]string{"esper-key"}, strings.Fields(os.Getenv("ESPER_TEST_ARGS"))...), append(os.Environ(), actEnv+"=1")))
	}
	must(t, syscall.Mount("srv", "/srv", "tmpfs", 0, "mode=0755"))
	program, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile("/srv/esper-key.test", program, 0o755))
	must(t, os.Mkdir("/srv/keys", 0o700))
	must(t, os.Chown("/srv/keys", service, service))
	server := espertest.NewServer(t)
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
		calls := strings.Join(allowed(t, "../../examples/deploy/systemd/"+row.unit), " ")
		c := exec.CommandContext(t.Context(), "/srv/esper-key.test", "-test.run=^TestRootFilter$")
		c.Env = []string{"ESPER_TEST_CALLS=" + calls, "ESPER_TEST_ARGS=" + row.args, environmentVariable + "=" + server.URL, storeVariable + "=file:///srv/keys/key"}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: service, Gid: service, Groups: []uint32{readers}}}
		c.Stdin = strings.NewReader(server.Token())
		out := endWhenReady(t, c)
		if code := c.ProcessState.ExitCode(); code != 0 || strings.Contains(out, "could not be given to its group (64102)") != row.lost {
			t.Errorf("%s under the filter of %s: %d, %s\nthe group is to be lost: %v", row.args, row.unit, code, out, row.lost)
		}
		if row.args == "adopt" {
			must(t, os.Chown("/srv/keys/key", service, readers))
			must(t, os.Chmod("/srv/keys/key", 0o640))
		}
	}
}

// allowed returns the numbers of the system calls that a unit's filter allows.
func allowed(t *testing.T, unit string) (numbers []string) {
	t.Helper()
	text, err := os.ReadFile(unit)
	must(t, err)
	header, err := os.ReadFile("/usr/include/" + map[string]string{"amd64": "x86_64-linux-gnu/asm/unistd_64.h", "arm64": "asm-generic/unistd.h"}[runtime.GOARCH])
	must(t, err)
	calls := callsOf(t, "@default")
	for _, line := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.*)$`).FindAllStringSubmatch(string(text), -1) {
		for name := range strings.FieldsSeq(line[2]) {
			for call := range callsOf(t, name) {
				if calls[call] = true; line[1] == "~" && !callsOf(t, "@default")[call] {
					delete(calls, call)
				}
			}
		}
	}
	for _, found := range regexp.MustCompile(`#define __NR_(\w+)\s+(\d+)`).FindAllStringSubmatch(string(header), -1) {
		if calls[found[1]] {
			numbers = append(numbers, found[2])
		}
	}
	if !strings.Contains(string(text), "\nSystemCallErrorNumber=EPERM\n") || calls["fchown"] || len(numbers) < 100 {
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

// endWhenReady runs a command to its end, and returns what it printed. One that says that it is ready is ended with
// SIGTERM.
func endWhenReady(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	const socket = "/srv/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socket})
	must(t, err)
	must(t, os.Chmod(socket, 0o666))
	var out bytes.Buffer
	c.Stdout, c.Stderr, c.Env = &out, &out, append(c.Env, "NOTIFY_SOCKET="+socket)
	must(t, c.Start())
	go func() {
		said := make([]byte, 1<<10)
		for n, err := conn.Read(said); err == nil; n, err = conn.Read(said) {
			if strings.Contains(string(said[:n]), "READY=1") {
				_ = c.Process.Signal(syscall.SIGTERM)
			}
		}
	}()
	_ = c.Wait()
	must(t, conn.Close())
	must(t, os.Remove(socket))
	return out.String()
}
