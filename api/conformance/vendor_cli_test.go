//go:build conformance

package conformance

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// vendorHost is the host that Esper's own command line client calls for the environment foo.
const vendorHost = "foo-api.esper.cloud"

// TestVendorCLI runs Esper's command line client, unchanged, against the fake server, to which sitecustomize.py leads it.
func TestVendorCLI(t *testing.T) {
	if !*all {
		return // it runs nightly
	}
	work, err := filepath.Abs(filepath.Join(".build", "vendor-cli"))
	must(t, err)
	copyTo(t, work, "vendor-cli/.")
	install := "python3 -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt"
	run(t, work, "", "sh", "-c", install)
	home := t.TempDir()
	run(t, home, "", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "certificate",
		"-subj", "/CN="+vendorHost, "-addext", "subjectAltName=DNS:"+vendorHost)
	pair, err := tls.LoadX509KeyPair(filepath.Join(home, "certificate"), filepath.Join(home, "key"))
	must(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	must(t, err)
	server := espertest.NewServer(t, espertest.WithListener(listener))
	bundle := strings.TrimSpace(run(t, work, "", ".venv/bin/python", "-c", "import certifi; print(certifi.where())"))
	run(t, home, "", "cp", "certificate", bundle) // changes only the copy in this folder

	_, port, _ := net.SplitHostPort(listener.Addr().String())
	for name, value := range map[string]string{"HOME": home, "PYTHONPATH": work, "VENDOR_HOST": vendorHost, "SERVER_PORT": port} {
		t.Setenv(name, value)
	}
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
	run(t, home, "", "sh", "-c", "! "+filepath.Join(work, ".venv/bin/espercli")+" token show") // with the old key
}
