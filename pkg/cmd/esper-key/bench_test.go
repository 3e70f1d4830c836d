//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// BenchmarkToken measures `esper-key token` from its start to its end, as a script sees it, with a store in a file and a
// key that is not due; and beside it `gh auth token`, if GitHub's command is installed (apt-get install gh).
func BenchmarkToken(b *testing.B) {
	folder, err := built()
	if err != nil {
		b.Fatal(err)
	}
	server := espertest.NewServer(b)
	store := fileURL(filepath.Join(b.TempDir(), "store", "key.json"))
	environment := append(os.Environ(), "GH_TOKEN="+server.Token(), environmentVariable+"="+server.URL, storeVariable+"="+store,
		keyVariable+"="+server.Token())
	run := func(b *testing.B, command ...string) {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), command[0], command[1:]...)
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	ours := filepath.Join(folder, "esper-key")
	run(b, ours, "adopt")
	for name, command := range map[string][]string{"esper-key": {ours, "token"}, "gh": {"gh", "auth", "token"}} {
		b.Run(name, func(b *testing.B) {
			if _, err := exec.LookPath(command[0]); err != nil {
				b.Skip(err)
			}
			for b.Loop() {
				run(b, command...)
			}
		})
	}
}
