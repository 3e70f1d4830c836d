//go:build !windows

package renew_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// Open looks at the modes of the file and its folder at once, also when this host has just saved the document, so that
// nothing has to be proven.
func TestOpenInspectsFile(t *testing.T) {
	t.Parallel()
	server := espertest.NewServer(t)
	path := filepath.Join(t.TempDir(), "esper", "key.json")
	for _, test := range []struct {
		file, folder  fs.FileMode
		fails, warned string
	}{
		{0o600, 0o700, "<nil>", ""},
		{0o644, 0o700, "<nil>", "other users can read it"},
		{0o600, 0o777, "others could replace the file", ""},
	} {
		var log bytes.Buffer
		_ = os.Chmod(path, test.file) // there is none at first
		_ = os.Chmod(filepath.Dir(path), test.folder)
		source, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token())),
			renew.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err == nil {
			_ = source.Close()
			_ = os.WriteFile(filepath.Join(filepath.Dir(path), "notes"), nil, 0o600) // so the folder is not the source's alone
		}
		if !strings.Contains(fmt.Sprint(err), test.fails) {
			t.Errorf("%#o in %#o: %v, want %q", test.file, test.folder, err, test.fails)
		}
		if text := log.String(); !strings.Contains(text, test.warned) || (test.warned == "") != (text == "") {
			t.Errorf("%#o in %#o: logged %s, want %q", test.file, test.folder, text, test.warned)
		}
	}
}
