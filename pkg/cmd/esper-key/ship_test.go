//go:build linux && slow

package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
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

// TestShip releases the modules one after the other, installs the command from its tag, and makes the files that are
// attached to a release.
func TestShip(t *testing.T) {
	s := &shipped{t: t, proxy: t.TempDir()}
	cache := s.output(".", nil, "go", "env", "GOMODCACHE")
	t.Setenv("GOWORK", "off")
	own := t.TempDir() // nothing of the made-up release may get into the cache of this machine
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", own).Run() })
	s.env = []string{
		"GOWORK=off", "GOMODCACHE=" + own, "GONOSUMDB=*", "GONOSUMCHECK=1", "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local",
		"GOPROXY=file://" + s.proxy + ",file://" + cache + "/cache/download," + s.output(".", nil, "go", "env", "GOPROXY"),
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
	folders := []string{t.TempDir(), t.TempDir()}
	for i, folder := range folders {
		env := s.env
		if i > 0 { // so that it compiles everything again
			env = append(env, "GOCACHE="+t.TempDir())
		}
		t.Log(s.output(folder, env, "bash", script, release, folder, platform))
	}
	name := "esper-key-" + runtime.GOOS + "-" + runtime.GOARCH
	binary := filepath.Join(folders[0], name)
	if sums := read(filepath.Join(folders[0], "SHA256SUMS")); !strings.Contains(sums, name) || firstField(sums, name) != firstField(read(filepath.Join(folders[1], "SHA256SUMS")), name) {
		t.Errorf("two builds differ: %s and %s", sums, read(filepath.Join(folders[1], "SHA256SUMS")))
	}
	var version versionInfo
	must(t, json.Unmarshal([]byte(s.output(".", nil, binary, "version", "-o", "json")), &version))
	if version.Version != release {
		t.Errorf("the binary says that it is %+v, want version "+release, version)
	}
	var sbom struct{ Components []struct{ Name string } }
	must(t, json.Unmarshal([]byte(read(binary+".cdx.json")), &sbom))
	if n := len(sbom.Components); n < 20 {
		t.Errorf("the SBOM has %d components, want 20 or more", n)
	}
	s.container(binary)
	s.user(root)
}

// user gets the library as the README says, and builds the README's program.
func (s *shipped) user(root string) {
	folder := s.t.TempDir()
	program := read(filepath.Join(root, "pkg/examples/tokeninfo/main.go"))
	write(s.t, filepath.Join(folder, "main.go"), program)
	s.output(folder, s.env, "go", "mod", "init", "example.com/user")
	s.output(folder, s.env, "go", "get", "github.com/esper-go/esper-go/pkg/esper/renew@"+release)
	s.output(folder, s.env, "go", "build", ".")
}

func firstField(sums, name string) string {
	for line := range strings.Lines(sums) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == name {
			return fields[0]
		}
	}
	return ""
}

func (s *shipped) output(folder string, env []string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), args[0], args[1:]...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%q: %v: %s%s", args, err, out, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// tracked returns a copy of the files of a folder that git does not ignore.
func (s *shipped) tracked(folder string) string {
	s.t.Helper()
	copied := s.t.TempDir()
	for name := range strings.SplitSeq(s.output(folder, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if name == "" || errors.Is(err, fs.ErrNotExist) { // the file was deleted, which is not committed yet
			continue
		}
		must(s.t, err)
		must(s.t, os.MkdirAll(filepath.Join(copied, filepath.Dir(name)), 0o700))
		must(s.t, os.WriteFile(filepath.Join(copied, name), data, 0o600))
	}
	return copied
}

// publish puts a module onto the proxy, as a tag would. If the module needs the other ones, publish first adds their
// sums.
func (s *shipped) publish(path, folder string, needsOthers bool) {
	s.t.Helper()
	folder = s.tracked(folder)
	if needsOthers {
		s.output(folder, s.env, "go", "mod", "tidy")
		s.output(folder, s.env, "go", "build", "./...") // as release.yml checks
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

// container builds the image of the Containerfile, and runs it as the image's user with a store in a volume.
func (s *shipped) container(binary string) {
	s.t.Helper()
	o := newOperator(s.t)
	context := s.t.TempDir()
	data, err := os.ReadFile(binary)
	must(s.t, err)
	const executable = 0o755
	must(s.t, os.WriteFile(filepath.Join(context, "esper-key"), data, executable))
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	must(s.t, err)
	write(s.t, filepath.Join(context, "ca-certificates.crt"), string(certificates))
	must(s.t, os.Chmod(filepath.Join(context, "ca-certificates.crt"), 0o644))
	write(s.t, filepath.Join(context, "Containerfile"), deployed(s.t, "container", "Containerfile"))
	storage := s.t.TempDir()
	buildah := []string{"buildah", "--storage-driver", "vfs", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run")}
	if os.Getuid() != 0 {
		buildah = append([]string{"sudo"}, buildah...)
	}
	do := func(args ...string) string { s.t.Helper(); return s.output(context, nil, append(buildah, args...)...) }
	do("bud", "--isolation", "chroot", "-t", "esper-key", ".")
	container := do("from", "localhost/esper-key")
	defer do("rm", container)
	if user := do("inspect", "--format", "{{.OCIv1.Config.User}}", container); user != "65532:65532" {
		s.t.Errorf("the user is %q, want 65532:65532", user)
	}
	volume := filepath.Join(o.folder, "volume")
	const open = 0o777
	must(s.t, os.Mkdir(volume, open))
	must(s.t, errors.Join(os.Chmod(volume, open|fs.ModeSticky), os.Chmod(o.folder, 0o755), os.Chmod(filepath.Dir(o.folder), 0o755)))
	write(s.t, filepath.Join(volume, "first"), o.server.Token())
	must(s.t, os.Chmod(filepath.Join(volume, "first"), 0o644))
	in := func(args ...string) string {
		return do(append([]string{
			"run", "--isolation", "chroot", "-v", volume + ":/state", "-e", environmentVariable + "=" + o.server.URL,
			"-e", storeVariable + "=file:///state/store/key.json", container, "--", "/esper-key",
		}, args...)...)
	}
	if text := in("version"); !strings.Contains(text, release) {
		s.t.Errorf("version prints %q, want "+release, text)
	}
	in("adopt", "--key-file", "/state/first")
	in("renew", "--now")
	if key := in("token"); key != o.server.Token() {
		s.t.Errorf("token prints %q, want the new key", key)
	}
}
