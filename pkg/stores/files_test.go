//go:build linux

package stores

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestFiles has esper-key keep a key in a file and in a SQLite file, in situations that are not as they should be. What
// needs another user or a mount is in the tests of package keyfile.
func TestFiles(t *testing.T) {
	for situation, row := range map[string]struct {
		setUp func(path string) error // once there is a key, if the first of args is not adopt
		args  string
		code  int
		want  string
	}{
		"a FIFO has the file's name":              {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "adopt", 1, "not a regular file"},
		"a link to /dev/null has the file's name": {func(path string) error { return os.Symlink("/dev/null", path) }, "adopt", 1, "not a regular file"},
		"a folder has the file's name":            {func(path string) error { return os.Mkdir(path, 0o700) }, "adopt", 1, "it is a folder; give the path of a file in it"},
		"the file is empty":                       {func(path string) error { return os.Truncate(path, 0) }, "token --read-only", 1, ""},
		"the folder is gone":                      {func(path string) error { return os.RemoveAll(filepath.Dir(path)) }, "token --read-only", 3, "there is no key yet"},
		"the file was restored with mode 0444":    {func(path string) error { return os.Chmod(path, 0o444) }, "renew --now", 0, "The key was renewed"},
		"the file, and all of its folder, is 0755": {func(path string) error {
			return errors.Join(os.Chmod(path, 0o755), os.Chmod(filepath.Dir(path), 0o755))
		}, "renew", 0, "warning: "},
	} {
		for _, name := range []string{"File", "SQLite"} {
			e, server := get(t, name), newServer(t)
			path := filepath.Join(t.TempDir(), "mine", "key")
			url := map[string]string{"File": "file://", "SQLite": "sqlite://"}[name] + path
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			if row.args != "adopt" {
				if printed, code := esperKey(t, server, url, nil, "adopt"); code != 0 {
					t.Errorf("%s, %s: adopt: %s", situation, name, printed)
				}
			}
			must(t, row.setUp(path))
			printed, code := esperKey(t, server, url, nil, strings.Fields(row.args)...)
			if code != row.code || !strings.Contains(printed, row.want) || code != 0 && !strings.Contains(printed, filepath.Dir(path)) {
				t.Errorf("%s, %s: %d, %s\nwant %d, %s", situation, name, code, printed, row.code, row.want)
			}
			if code != 0 && processes.Posts(server) > 0 {
				t.Errorf("%s, %s: a renewal was sent, although its key cannot be saved", situation, name)
			}
			if code == 0 {
				_, warning, _ := strings.Cut(printed, "esper-key: warning: ")
				warning, _, _ = strings.Cut(warning, "\n")
				printed = cmp.Or(warning, "nothing: it works")
			}
			outcome(e, situation, printed)
		}
	}
}
