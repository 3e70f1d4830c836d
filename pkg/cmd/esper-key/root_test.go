//go:build root && linux

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
