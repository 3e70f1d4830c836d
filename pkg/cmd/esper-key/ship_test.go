//go:build linux && slow

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const release = "v0.1.0"

// TestShip releases the modules one after the other, from tags in a copy of this repository, as CONTRIBUTING.md says. It
// installs the command from its tag, and makes its licences and its SBOM. With ESPER_TEST_REBUILD it compiles everything
// again, from an empty cache, and wants the same bytes (make reproducible).
func TestShip(t *testing.T) {
	const main = "github.com/esper-go/esper-go"
	root, err := filepath.Abs("../../..")
	must(t, err)
	repository := t.TempDir()
	env := []string{
		"GOWORK=off", "GOFLAGS=-modcacherw -trimpath", "GOTOOLCHAIN=local", "GONOSUMDB=*", "GONOPROXY=" + main,
		// Nothing of the made-up release may get into the cache of this machine. With -trimpath, Go's other cache is used.
		"GOMODCACHE=" + t.TempDir(), "GOPROXY=file://" + do(t, "go", "env", "GOMODCACHE") + "/cache/download," + do(t, "go", "env", "GOPROXY"),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + repository + ".insteadOf", "GIT_CONFIG_VALUE_0=https://" + main,
	}
	doIn(t, root, env, "bash", "-euo", "pipefail", "-c", `
git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - | tar -x -C "$0"
cd "$0" && git init --quiet && git add .
for module in . pkg/esper/renew/kubestore pkg/cmd/esper-key; do
	if [ $module != . ]; then (cd $module && go mod tidy && go build ./...); fi # as release.yml checks
	git -c user.name=n -c user.email=e commit --quiet --all -m "$module" && git tag "$(echo $module/$1 | sed s#^./##)"
done`, repository, release)
	script, err := filepath.Abs("dist.sh")
	must(t, err)
	platform := runtime.GOOS + "/" + runtime.GOARCH
	folder, name := t.TempDir(), "esper-key-"+runtime.GOOS+"-"+runtime.GOARCH
	doIn(t, folder, env, "bash", script, "binaries", folder, release, platform)
	binary := filepath.Join(folder, name)
	if os.Getenv("ESPER_TEST_REBUILD") != "" {
		again := t.TempDir()
		doIn(t, again, append(env, "GOCACHE="+t.TempDir()), "bash", script, "binaries", again, release, platform)
		if one, two := read(binary), read(filepath.Join(again, name)); one == "" || one != two {
			t.Error("two builds differ")
		}
	}
	doIn(t, folder, env, "bash", script, "licenses", folder)
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
	doIn(t, user, env, "go", "mod", "init", "example.com/user")
	doIn(t, user, env, "go", "get", main+"/pkg/esper/renew@"+release)
	doIn(t, user, env, "go", "build", ".")
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

// packed makes the packages of two versions, and LICENSES.txt, and returns their folder.
func packed(t *testing.T) (folder string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test installs packages and makes containers: run it as root")
	}
	folder = t.TempDir()
	doIn(t, ".", []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", filepath.Join(folder, "esper-key-linux-"+runtime.GOARCH), ".")
	do(t, "bash", "dist.sh", "licenses", folder)
	for _, version := range []string{release, "v0.1.1"} {
		do(t, "bash", "dist.sh", "packages", folder, version)
	}
	return folder
}

const executable = 0o755

// do runs a program, and returns what it prints on standard output.
func do(t *testing.T, args ...string) string {
	t.Helper()
	return doIn(t, ".", nil, args...)
}

func doIn(t *testing.T, folder string, env []string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = folder, append(os.Environ(), env...), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v: %s%s", args, err, out, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// TestPackage installs the deb in a fresh root, pastes the runbook there as the service's user, with a store of each
// kind, and upgrades, removes and purges the deb. The key and the settings of the operator stay.
func TestPackage(t *testing.T) {
	folder := packed(t)
	root, err := os.MkdirTemp("/var/lib", "esper-key-root-") //nolint:usetesting // others could replace what is in /tmp
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(root)) })
	must(t, os.Chmod(root, executable))
	release := strings.TrimSpace(do(t, "bash", "-c", ". /etc/os-release; echo $VERSION_CODENAME"))
	do(t, "debootstrap", "--variant=minbase", "--include=sudo,curl", release, root)
	in := func(args ...string) string { t.Helper(); return do(t, append([]string{"chroot", root}, args...)...) }
	install := func(version string) {
		t.Helper()
		name := "esper-key_" + version + "_" + runtime.GOARCH + ".deb"
		do(t, "install", "-m", "600", filepath.Join(folder, name), filepath.Join(root, "tmp", name))
		in("dpkg", "--install", "/tmp/"+name)
	}
	install("0.1.0")
	for name, text := range map[string]string{
		"usr/bin/esper-key": "", "usr/share/bash-completion/completions/esper-key": "", "usr/lib/systemd/system/esper-key-renew.timer": "",
		"usr/lib/sysusers.d/esper-key.conf": "", "etc/esper-key/api-key": "", "etc/esper-key/environment": "",
		"usr/share/man/man1/esper-key.1": "ESPER-KEY TOKEN", "usr/share/doc/esper-key/copyright": "=== k8s.io/client-go",
		"usr/lib/systemd/system/esper-key.service": "ExecStart=/usr/bin/esper-key",
	} {
		if path := filepath.Join(root, name); !exists(path) || !strings.Contains(read(path), text) {
			t.Errorf("the package has not installed %s, or that has not %q", name, text)
		}
	}
	if mode := in("stat", "--format", "%A %U %G", "/etc/esper-key/environment"); mode != "-rw-r----- root esper-key" {
		t.Errorf("the settings, which may hold a password, are %s", mode)
	}
	for kind, store := range stores(t, root) {
		t.Run(kind, func(t *testing.T) { runbook(t, func(t *testing.T) *operator { return installed(t, root, store) }) })
	}

	o := installed(t, root, "file:///var/lib/esper-key/NAME/store/key.json")
	settings := read(filepath.Join(root, "etc/esper-key/environment"))
	o.input(o.server.Token(), "adopt").wants(0)
	write(t, filepath.Join(root, "etc/esper-key/api-key"), o.server.Token())
	install("0.1.1")
	o.token()
	o.run("renew", "--now").wants(0)
	o.token()
	for _, action := range []string{"--remove", "--purge"} {
		if got := read(filepath.Join(root, "etc/esper-key/environment")); got != settings {
			t.Errorf("before %s the settings are %q, want %q", action, got, settings)
		}
		in("dpkg", action, "esper-key")
		if !strings.Contains(read(o.path()), o.server.Token()) || read(filepath.Join(root, "etc/esper-key/api-key")) == "" {
			t.Errorf("%s has removed a key", action)
		}
	}
	if exists(filepath.Join(root, "usr/bin/esper-key")) || exists(filepath.Join(root, "etc/esper-key/environment")) {
		t.Error("purged, and the command and the settings are still there")
	}
	rpm := filepath.Join(folder, "esper-key-0.1.0-1."+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]+".rpm")
	if files := do(t, "rpm", "--query", "--package", "--list", rpm); !strings.Contains(files, "/usr/lib/systemd/system/esper-key.service") {
		t.Errorf("the rpm has %s", files)
	}
	if settings := do(t, "rpm", "--query", "--package", "--configfiles", rpm); settings != "/etc/esper-key/environment" {
		t.Errorf("the settings of the rpm are %q", settings)
	}
}

// stores returns the URL of a store of each kind, with NAME for a name that is new each time. Lines of ESPER_TEST_STORES,
// each with a kind and a URL, add those that need a server. Its KUBECONFIG is copied into the root.
func stores(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{
		"file": "file:///var/lib/esper-key/NAME/store/key.json?mode=0640", "sqlite": "sqlite:///var/lib/esper-key/NAME/key.db?table=t&name=n",
	}
	for line := range strings.Lines(os.Getenv("ESPER_TEST_STORES")) {
		kind, store, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[kind] = store
	}
	if config := os.Getenv("KUBECONFIG"); config != "" {
		do(t, "install", "-m", "644", config, filepath.Join(root, "etc/esper-key/kubeconfig"))
	}
	return all
}

// installed returns an operator who runs the installed command as the service's user, with settings for that store.
func installed(t *testing.T, root, store string) *operator {
	t.Helper()
	o := newOperator(t)
	o.root = root
	var id [2]int
	for i, kind := range []string{"-u", "-g"} {
		n, err := strconv.Atoi(do(t, "chroot", root, "id", kind, "esper-key"))
		must(t, err)
		id[i] = n
	}
	folder, err := os.MkdirTemp(filepath.Join(root, "var/lib/esper-key"), "n") //nolint:usetesting // the service's folder
	must(t, errors.Join(err, os.Chown(folder, id[0], id[1])))
	o.folder, o.store = folder, strings.ReplaceAll(store, "NAME", filepath.Base(folder))
	o.inside = func(cmd *exec.Cmd) {
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
		if cmd.Args[0] == "bash" { // it is root's
			cmd.Path, cmd.Env = "/bin/bash", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
			return
		}
		cmd.Path, cmd.SysProcAttr.Credential = "/usr/bin/esper-key", &syscall.Credential{Uid: uint32(id[0]), Gid: uint32(id[1])}
		cmd.Env = append(cmd.Env, "KUBECONFIG=/etc/esper-key/kubeconfig")
	}
	settings := environmentVariable + "=" + o.server.URL + "\n" + storeVariable + `="` + o.store + "\"\nKUBECONFIG=/etc/esper-key/kubeconfig\n"
	write(t, filepath.Join(root, "etc/esper-key/environment"), settings)
	return o
}

// TestContainer builds the image of the Containerfile, and runs it as the image's user with a store in a volume.
func TestContainer(t *testing.T) {
	folder := packed(t)
	o := newOperator(t)
	context := t.TempDir()
	do(t, "install", "-m", "755", filepath.Join(folder, "esper-key-linux-"+runtime.GOARCH), filepath.Join(context, "esper-key"))
	do(t, "install", "-m", "644", "-t", context, "/etc/ssl/certs/ca-certificates.crt", filepath.Join(folder, "LICENSES.txt"),
		filepath.Join(deploy, "container/Containerfile"))
	storage := t.TempDir()
	buildah := func(args ...string) string {
		t.Helper()
		return do(t, append([]string{"buildah", "--storage-driver", "vfs", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run")}, args...)...)
	}
	buildah("bud", "--isolation", "chroot", "-t", "esper-key", context)
	container := buildah("from", "localhost/esper-key")
	defer buildah("rm", container)
	if user := buildah("inspect", "--format", "{{.OCIv1.Config.User}}", container); user != "65532:65532" {
		t.Errorf("the user is %q, want 65532:65532", user)
	}
	root := buildah("mount", container)
	for _, name := range []string{"etc/ssl/certs/ca-certificates.crt", "LICENSES.txt"} {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != 0o644 || info.Size() == 0 {
			t.Errorf("%s of the image: %v, %v", name, info, err)
		}
	}
	volume := o.at("volume")
	const open = 0o777
	must(t, os.Mkdir(volume, open))
	must(t, errors.Join(os.Chmod(volume, open|fs.ModeSticky), os.Chmod(o.folder, executable), os.Chmod(filepath.Dir(o.folder), executable)))
	write(t, filepath.Join(volume, "first"), o.server.Token())
	must(t, os.Chmod(filepath.Join(volume, "first"), 0o644))
	in := func(args ...string) string {
		t.Helper()
		return buildah(append([]string{
			"run", "--isolation", "chroot", "-v", volume + ":/state", "-e", environmentVariable + "=" + o.server.URL,
			"-e", storeVariable + "=file:///state/store/key.json", container, "--", "/esper-key",
		}, args...)...)
	}
	in("adopt", "--key-file", "/state/first")
	in("renew", "--now")
	if key := in("token"); key != o.server.Token() {
		t.Errorf("token prints %q, want the new key", key)
	}
}
