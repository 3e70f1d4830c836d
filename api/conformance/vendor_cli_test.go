//go:build conformance && linux

package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// vendorHost is the host that Esper's own command line client calls for the environment foo.
const vendorHost = "foo-api.esper.cloud"

const insideEnv = "CONFORMANCE_INSIDE"

// TestVendorCLI runs Esper's command line client, unchanged, against the fake server. It runs the client in a network
// namespace in which vendorHost leads to a TLS proxy of this test.
func TestVendorCLI(t *testing.T) {
	if !*all {
		return // it runs nightly
	}
	work, err := filepath.Abs(filepath.Join(".build", "vendor-cli"))
	if err != nil {
		t.Fatal(err)
	}
	copyFolder(t, "vendor-cli", work)
	install := "python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt"
	run(t, work, "", "sh", "-c", install)
	args := []string{"unshare", "--net", "--mount", "env", insideEnv + "=" + work, os.Args[0], "-test.v", "-test.run", "^TestVendorCLIInside$"}
	if os.Getuid() != 0 {
		args = append([]string{"sudo"}, args...)
	}
	if out := run(t, work, "", args...); !strings.Contains(out, "--- PASS: TestVendorCLIInside") {
		t.Errorf("TestVendorCLIInside did not run: %s", out)
	}
}

// TestVendorCLIInside is the part of TestVendorCLI inside the namespace.
func TestVendorCLIInside(t *testing.T) {
	work := os.Getenv(insideEnv)
	if work == "" {
		return
	}
	home := t.TempDir()
	hosts := filepath.Join(home, "hosts")
	writeText(t, hosts, "127.0.0.1 localhost "+vendorHost+"\n")
	run(t, home, "", "mount", "--bind", hosts, "/etc/hosts")
	run(t, home, "", "ip", "link", "set", "lo", "up")

	server := espertest.NewServer(t)
	authority := serveTLS(t, server.URL)
	bundle := strings.TrimSpace(run(t, work, "", ".venv/bin/python", "-c", "import certifi; print(certifi.where())"))
	writeText(t, bundle, authority) // changes only the copy in this folder

	t.Setenv("HOME", home)
	cli := func(input string, args ...string) string {
		return run(t, home, input, append([]string{filepath.Join(work, ".venv/bin/espercli")}, args...)...)
	}
	first := server.Token()
	cli("foo\n"+first+"\n", "configure", "--set")
	if out := cli("", "token", "show", "--json"); !strings.Contains(out, first) {
		t.Errorf("token show does not print the key: %s", out)
	}
	if out := cli("", "token", "renew", "--json", "-d", server.DeveloperAppID, "-t", first); !strings.Contains(out, server.Token()) || server.Token() == first {
		t.Errorf("token renew does not print a new key: %s", out)
	}
	show := exec.CommandContext(t.Context(), filepath.Join(work, ".venv/bin/espercli"), "token", "show")
	show.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := show.CombinedOutput(); err == nil {
		t.Errorf("the old key still works: %s", out)
	}
}

// serveTLS starts a TLS proxy for vendorHost in front of the server target, and returns the certificate that signs its
// own.
func serveTLS(t *testing.T, target string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{vendorHost}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	proxy := &http.Server{Handler: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host}), ReadHeaderTimeout: time.Minute}
	go func() { _ = proxy.Serve(tls.NewListener(listener, config)) }()
	t.Cleanup(func() { _ = proxy.Close() })
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// run runs a command without a terminal, with input as its standard input, and returns its output.
func run(t *testing.T, folder, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = folder, strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, tail(out))
	}
	return string(out)
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
