//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// BenchmarkToken measures `esper-key token` from its start to its end, as a script sees it, with a store in a file and a key
// that is not due: 12 ms where `gh auth token` takes 70.
func BenchmarkToken(b *testing.B) {
	folder, err := built()
	if err != nil {
		b.Fatal(err)
	}
	server := espertest.NewServer(b)
	environment := append(with(os.Environ(), environmentVariable+"="+server.URL, storeVariable+"="+fileURL(filepath.Join(b.TempDir(), "store", "key.json"))),
		keyVariable+"="+server.Token())
	run := func(command string) {
		cmd := exec.CommandContext(b.Context(), filepath.Join(folder, "esper-key"), command)
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	run("adopt")
	for b.Loop() {
		run("token")
	}
}
