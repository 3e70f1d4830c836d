//go:build linux && slow

package main

import (
	"archive/zip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

const release = "v0.1.0"

// shipped is a release, made as CONTRIBUTING.md says, on a module proxy in a folder.
type shipped struct {
	t     *testing.T
	proxy string
	env   []string
}

// TestShip releases the modules one after the other, installs the command from its tag, and makes its licences and its
// SBOM. With ESPER_TEST_REBUILD it compiles everything again, from an empty cache, and wants the same bytes (make
// reproducible).
func TestShip(t *testing.T) {
	s := &shipped{t: t, proxy: t.TempDir()}
	cache := do(t, "go", "env", "GOMODCACHE")
	t.Setenv("GOWORK", "off")
	own := t.TempDir() // nothing of the made-up release may get into the cache of this machine; with -trimpath, Go's other cache is used
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", own).Run() })
	s.env = []string{
		"GOWORK=off", "GOMODCACHE=" + own, "GONOSUMDB=*", "GONOSUMCHECK=1", "GOFLAGS=-modcacherw -trimpath", "GOTOOLCHAIN=local",
		"GOPROXY=file://" + s.proxy + ",file://" + cache + "/cache/download," + do(t, "go", "env", "GOPROXY"),
	}
	root, err := filepath.Abs("../../..")
	must(t, err)
	const main = "github.com/esper-go/esper-go"
	s.publish(main, root, false)
	s.publish(main+"/pkg/esper/renew/kubestore", filepath.Join(root, "pkg/esper/renew/kubestore"), true)
	s.publish(main+"/pkg/cmd/esper-key", filepath.Join(root, "pkg/cmd/esper-key"), true)

	script, err := filepath.Abs("dist.sh")
	must(t, err)
	platform := runtime.GOOS + "/" + runtime.GOARCH
	folder, name := t.TempDir(), "esper-key-"+runtime.GOOS+"-"+runtime.GOARCH
	doIn(t, folder, s.env, "bash", script, "binaries", folder, release, platform)
	binary := filepath.Join(folder, name)
	if os.Getenv("ESPER_TEST_REBUILD") != "" {
		again := t.TempDir()
		doIn(t, again, append(s.env, "GOCACHE="+t.TempDir()), "bash", script, "binaries", again, release, platform)
		if one, two := read(binary), read(filepath.Join(again, name)); one == "" || one != two {
			t.Error("two builds differ")
		}
	}
	doIn(t, folder, s.env, "bash", script, "licenses", folder)
	doIn(t, folder, nil, "bash", script, "sboms", folder)
	if said := do(t, binary, "--version"); said != "esper-key version "+release {
		t.Errorf("the binary says that it is %q", said)
	}
	var sbom struct{ Components []struct{ Name string } }
	must(t, json.Unmarshal([]byte(read(binary+".cdx.json")), &sbom))
	if n := len(sbom.Components); n < 20 {
		t.Errorf("the SBOM has %d components, want 20 or more", n)
	}

	// A user gets the library as the README says, and builds the README's program.
	user := t.TempDir()
	write(t, filepath.Join(user, "main.go"), read(filepath.Join(root, "pkg/examples/tokeninfo/main.go")))
	doIn(t, user, s.env, "go", "mod", "init", "example.com/user")
	doIn(t, user, s.env, "go", "get", main+"/pkg/esper/renew@"+release)
	doIn(t, user, s.env, "go", "build", ".")
}

// TestShipTag: a tag is refused if its commit is not on main, or if the tests have not passed for it there.
func TestShipTag(t *testing.T) {
	script, err := filepath.Abs("../../../.github/tag.sh")
	must(t, err)
	folder := t.TempDir()
	do(t, "bash", "-euc", `cd "$0"
git init --quiet --initial-branch main . && git config user.name n && git config user.email e
git commit --quiet --allow-empty -m main && git update-ref refs/remotes/origin/main HEAD
git checkout --quiet -b side && git commit --quiet --allow-empty -m side
mkdir bin && printf '#!/bin/sh\necho "$PASSED"\n' >bin/gh && chmod +x bin/gh`, folder)
	for _, tc := range []struct{ commit, passed, refusal string }{
		{"main", "1", ""}, {"main", "0", "have not passed"}, {"side", "1", "not on main"},
	} {
		cmd := exec.CommandContext(t.Context(), "bash", script, tc.commit)
		cmd.Dir, cmd.Env = folder, append(os.Environ(), "PASSED="+tc.passed, "PATH="+filepath.Join(folder, "bin")+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if (err == nil) != (tc.refusal == "") || !strings.Contains(string(out), tc.refusal) {
			t.Errorf("%s, %s: %v: %s", tc.commit, tc.passed, err, out)
		}
	}
}

// publish puts a module onto the proxy, as a tag would. If the module needs the other ones, publish first adds their
// sums.
func (s *shipped) publish(path, folder string, needsOthers bool) {
	s.t.Helper()
	tracked := s.t.TempDir() // without what git ignores
	doIn(s.t, folder, nil, "bash", "-euo", "pipefail", "-c",
		`git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - | tar -x -C "$0"`, tracked)
	folder = tracked
	if needsOthers {
		doIn(s.t, folder, s.env, "go", "mod", "tidy")
		doIn(s.t, folder, s.env, "go", "build", "./...") // as release.yml checks
	}
	at := filepath.Join(s.proxy, filepath.FromSlash(path), "@v")
	must(s.t, os.MkdirAll(at, 0o700))
	f, err := os.Create(filepath.Join(at, release+".zip"))
	must(s.t, err)
	must(s.t, modzip.CreateFromDir(f, module.Version{Path: path, Version: release}, folder))
	must(s.t, f.Close())
	write(s.t, filepath.Join(at, release+".mod"), read(filepath.Join(folder, "go.mod")))
	write(s.t, filepath.Join(at, release+".info"), `{"Version":"`+release+`","Time":"2026-01-01T00:00:00Z"}`)
	write(s.t, filepath.Join(at, "list"), release+"\n")
	archive, err := zip.OpenReader(filepath.Join(at, release+".zip"))
	must(s.t, err)
	defer func() { _ = archive.Close() }()
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "go.work") || strings.Contains(f.Name, "/.build/") {
			s.t.Errorf("the release holds %s", f.Name)
		}
	}
}
