//go:build root && linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// TestRootStores runs the command as root and as the user of a service, on stores in files that root has mounted or
// restored. `make files-root` runs it as root, in mounts of its own.
func TestRootStores(t *testing.T) {
	const service, reader, group = 64101, 64103, 64102
	if os.Geteuid() != 0 || os.Getenv("ESPER_TEST_MOUNTS") != "private" {
		t.Fatal("this test needs root, and mounts of its own: use make files-root")
	}
	must(t, syscall.Mount("srv", "/srv", "tmpfs", 0, "mode=0755"))
	program, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile("/srv/esper-key", program, 0o755))
	server := espertest.NewServer(t)
	as := func(user int, store string, want int, text string, args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "/srv/esper-key", args...)
		c.Env = []string{actEnv + "=1", environmentVariable + "=" + server.URL, storeVariable + "=" + store}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user), Groups: []uint32{group}}}
		c.Stdin = strings.NewReader(server.Token())
		out, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != want || !strings.Contains(string(out), text) || strings.Contains(string(out), "primary") {
			t.Errorf("%s: %q as %d: exit code %d, %s\nwant %d, %q", store, args, user, code, out, want, text)
		}
	}
	for _, kind := range []string{"file", "sqlite"} {
		folder := filepath.Join("/srv", kind)
		path := filepath.Join(folder, "key")
		store := kind + "://" + path
		must(t, os.Mkdir(folder, 0o750))
		must(t, os.Chown(folder, service, group))

		// Root adopts, then the service starts.
		as(0, store, 0, "", "adopt")
		as(service, store, 0, "", "renew", "--now")
		// A reader gets advice for readers, and then the key, on a read-only mount too.
		as(reader, store, exitFailed, "let this user join their group", "token", "--read-only")
		must(t, os.Chown(path, service, group))
		must(t, os.Chmod(path, 0o640))
		as(reader, store, 0, server.Token(), "token", "--read-only")
		must(t, syscall.Mount(folder, folder, "", syscall.MS_BIND, ""))
		must(t, syscall.Mount("", folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		as(reader, store, 0, server.Token(), "token", "--read-only")
		as(service, store, exitFailed, "mounted read-only", "renew", "--now")
		must(t, syscall.Unmount(folder, 0))
		// A file that is mounted by itself, as in two containers, is refused before a key is renewed.
		must(t, syscall.Mount(path, path, "", syscall.MS_BIND, ""))
		renewed := len(server.Requests())
		as(service, store, exitFailed, "mount its folder", "renew", "--now")
		if n := len(server.Requests()); n != renewed {
			t.Errorf("%s: %d requests for a store that does not work", kind, n-renewed)
		}
		must(t, syscall.Unmount(path, 0))
		as(service, store, 0, "", "renew", "--now")
		// Root has restored the file.
		must(t, os.Chown(path, 0, 0))
		must(t, os.Chmod(path, 0o600))
		as(service, store, exitFailed, "chown 64101", "renew")
		as(0, store, 0, "", "check")
		must(t, os.Chown(path, service, group))
		as(service, store, 0, "", "renew", "--now")
		// Others can replace the file, or put a journal beside it.
		must(t, os.WriteFile(filepath.Join(folder, "another"), nil, 0o600))
		must(t, os.Chmod(folder, 0o777))
		as(service, store, exitFailed, "others could replace the file", "renew", "--now")
		must(t, os.Chmod(folder, 0o750))
		as(service, store, 0, "", "check")
	}
}
