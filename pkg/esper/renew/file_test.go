//go:build !windows

package renew_test

import (
	"bytes"
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

// TestOpenInspectsFile: Open looks at the modes of the file and its folder at once, also when this host has just saved
// the document, so that nothing has to be proven.
func TestOpenInspectsFile(t *testing.T) {
	t.Parallel()
	server := espertest.NewServer(t)
	path := filepath.Join(t.TempDir(), "esper", "key.json")
	for _, test := range []struct {
		file, folder  fs.FileMode
		fails, warned string
	}{
		{0o600, 0o700, "", ""},
		{0o640, 0o755, "", ""},
		{0o644, 0o700, "", "other users can read it"},
		{0o600, 0o777, "others could replace the file", ""},
	} {
		var log bytes.Buffer
		if test.file != 0o600 || test.folder != 0o700 {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), "notes"), nil, 0o600); err != nil { // not ours alone
				t.Fatal(err)
			}
			_ = os.Chmod(path, test.file)
			_ = os.Chmod(filepath.Dir(path), test.folder)
		}
		source, err := renew.Open(t.Context(), server.URL, renew.File(path), renew.WithInitialToken(esper.NewSecret(server.Token())),
			renew.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if source != nil {
			_ = source.Close()
		}
		if text := errorText(err); !strings.Contains(text, test.fails) || (test.fails == "") != (err == nil) {
			t.Errorf("%#o in %#o: %v, want %q", test.file, test.folder, err, test.fails)
		}
		if text := log.String(); !strings.Contains(text, test.warned) || (test.warned == "") != (text == "") {
			t.Errorf("%#o in %#o: logged %s, want %q", test.file, test.folder, text, test.warned)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
