package renew_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestSecretVolume reads the key from a volume of the kind in which Kubernetes mounts a Secret. The file is a link
// through ..data into a folder, and all users may read it. Some time after a renewal, the kubelet replaces ..data.
func TestSecretVolume(t *testing.T) {
	t.Parallel()
	notShort(t)
	if runtime.GOOS == "windows" {
		t.Log("there are no such volumes on Windows")
		return
	}
	server := espertest.NewServer(t, espertest.WithHandler("GET /v0/device/", http.NotFoundHandler()))
	own := filepath.Join(t.TempDir(), "esper", "key.json")
	writer, err := renew.Open(t.Context(), server.URL, renew.File(own), renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	volume := t.TempDir()
	kubelet := func(version string) {
		t.Helper()
		data, err := os.ReadFile(own)
		folder, link := filepath.Join(volume, version), filepath.Join(volume, "..data_tmp")
		for _, step := range []func() error{
			func() error { return err },
			func() error { return os.Mkdir(folder, 0o755) },
			func() error { return os.WriteFile(filepath.Join(folder, "key.json"), data, 0o644) },
			func() error { return os.Symlink(version, link) },
			func() error { return os.Rename(link, filepath.Join(volume, "..data")) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	kubelet("..2026_11_01_a")
	if err := os.Symlink(filepath.Join("..data", "key.json"), filepath.Join(volume, "key.json")); err != nil {
		t.Fatal(err)
	}
	reader, err := renew.Open(t.Context(), server.URL, renew.File(filepath.Join(volume, "key.json")), renew.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	status := func() int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v0/device/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := reader.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(); got != http.StatusNotFound {
		t.Fatalf("with the first key: %d", got)
	}
	if err := writer.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusUnauthorized {
		t.Fatalf("before the kubelet has brought the new key: %d", got)
	}
	kubelet("..2026_11_01_b")
	got := status()
	for over := time.Now().Add(10 * time.Second); got != http.StatusNotFound && time.Now().Before(over); got = status() {
		<-time.After(100 * time.Millisecond) // after a 401, the store is read once a second
	}
	if got != http.StatusNotFound {
		t.Fatalf("after the kubelet has brought the new key: %d", got)
	}
	program := exec.CommandContext(t.Context(), readerProgram(t))
	program.Env = append(os.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_KEY_FILE="+filepath.Join(volume, "key.json"))
	if out, err := program.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "key ") {
		t.Errorf("the example program: %v\n%s", err, out)
	}
	if n := processes.Posts(server); n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}
}

// readerProgram compiles the example program that only reads a key.
func readerProgram(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "reader.exe")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/esper-go/esper-go/pkg/examples/reader").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
