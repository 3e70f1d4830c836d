//go:build linux

package stores

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// program builds esper-key, once.
var program = sync.OnceValues(func() (path string, err error) {
	folder, err := folders()
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", folder+"/esper-key", ".")
	build.Dir = "../cmd/esper-key"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return folder + "/esper-key", nil
})

// esperKey runs esper-key on a store, and returns what it printed, and its exit code. Only token may print the key.
func esperKey(t *testing.T, server *espertest.Server, url string, env []string, args ...string) (printed string, code int) {
	t.Helper()
	path, err := program()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(append(os.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_KEY_STORE="+url), env...)
	if args[0] == "adopt" {
		cmd.Stdin = strings.NewReader(server.Token())
	}
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if args[0] != "token" && holds(string(out), server.Token()) {
		t.Errorf("%q prints the key: %s", args, out)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// holds reports whether a text has a key, or most of it, as it is, in hex or in base64.
func holds(text, key string) bool {
	part := key[:len(key)-4]
	for _, run := range regexp.MustCompile(`[A-Za-z0-9+/]{20,}`).FindAllString(text, -1) {
		for begin := range 4 {
			decoded, _ := base64.RawStdEncoding.DecodeString(run[begin:])
			text += "\n" + string(decoded)
		}
	}
	return strings.Contains(text, part) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(part)))
}

// url is the URL of a database server for esper-key. Account is who asks, and host where the server is.
func (e *engine) url(account, host, parameters string) string {
	if e.kind == "pgx" {
		return "postgres://" + account + "@" + host + "/postgres?" + parameters
	}
	return "mysql://" + account + "@" + host + "/mysql?" + parameters
}

const encrypted, readable = "TLS", "plain text"

// TestTLS reads what esper-key sends to a database, over a wire that leads to a server with TLS, or to one without. The
// address 0.0.0.0 leads to this machine, although it is no loopback address.
func TestTLS(t *testing.T) {
	const far, near = "0.0.0.0", "127.0.0.1"
	on(t, databases, func(t *testing.T, e *engine) {
		files := newFolder(t) // an error shows its name: digits and both cases in a row could be a key
		certificates(t, files)
		for _, row := range []struct {
			host, parameters string
			offered          bool   // the server offers TLS
			want             string // or a part of the error
			code             int
		}{
			{far, "", true, encrypted, 0},
			{far, "", false, "the server offers no TLS", 1},
			{near, "", true, encrypted, 0},
			{near, "", false, readable, 0},
			{"tlsonly@" + near, "", true, encrypted, 0}, // an account with REQUIRE SSL, or hostssl in pg_hba.conf
			{far, "sslmode=prefer", true, encrypted, 0},
			{far, "sslmode=prefer", false, readable, 0},
			{far, "ssl-mode=PREFERRED", false, readable, 0},
			{far, "tls=preferred", false, readable, 0},
			{far, "sslmode=disable", true, readable, 0},
			{far, "ssl-mode=DISABLED", true, readable, 0},
			{far, "useSSL=false", true, readable, 0},
			{far, "tls=false", true, readable, 0},
			{near, "sslmode=require", false, "the server offers no TLS", 1},
			{near, "ssl-mode=REQUIRED", false, "the server offers no TLS", 1},
			{near, "useSSL=true", false, "the server offers no TLS", 1},
			{near, "tls=skip-verify", true, encrypted, 0},
			{far, "tls=true", true, "unknown authority", 1},
			{far, "sslmode=verify-full", true, "unknown authority", 1},
			{far, "ssl-ca=FILES/ca.pem", true, encrypted, 0},
			{far, "ssl-ca=FILES/ca.pem", false, "the server offers no TLS", 1},
			{far, "ssl-ca=FILES/stranger.pem", true, "unknown authority", 1},
			{far, "tls=true&ssl-ca=FILES/ca.pem", true, encrypted, 0},
			{"ip6-localhost", "ssl-mode=VERIFY_IDENTITY&sslrootcert=FILES/ca.pem", true, "ip6-localhost", 1}, // another name
			{far, "sslrootcert=FILES/late.pem", true, "FILES/late.pem: no such file", 1},
			{far, "sslrootcert=FILES/late.pem", true, encrypted, 0}, // it has come meanwhile
			{far, "ssl-ca=FILES/not.pem", true, "FILES/not.pem has no certificate", 1},
			{far, "useSSL=perhaps", true, "the parameter useSSL of the store's URL is none of 0, 1, false, true", 2},
			{far, "sslmode=require&tls=false", true, "disagree about TLS", 2},
		} {
			server := newServer(t)
			without := withoutTLS(e)
			if row.offered {
				without = nil
			}
			w := wireTo(t, e.listens, without)
			_, port, _ := strings.Cut(w.Addr().String(), ":")
			account, host, found := strings.Cut(row.host, "@")
			if !found {
				account, host = e.root, row.host
			}
			parameters := "name=" + newName() + "&" + strings.ReplaceAll(row.parameters, "FILES", files)
			printed, code := esperKey(t, server, e.url(account, host+":"+port, parameters), nil, "adopt")
			got := printed
			switch {
			case code == 0 && holds(w.sent(), server.Token()):
				got = readable
			case code == 0:
				got = encrypted
			case holds(w.sent(), server.Token()):
				got += ", and the key in plain text"
			}
			if want := strings.ReplaceAll(row.want, "FILES", files); code != row.code || !strings.Contains(got, want) {
				t.Errorf("TLS offered %v, %s ?%s: %d, %s\nwant %d, %s", row.offered, row.host, row.parameters, code, got, row.code, want)
			}
			situation := "`" + cmp.Or(row.parameters, "no parameter") + "`, " + map[bool]string{true: "with", false: "without"}[row.offered] + " TLS on the server"
			if strings.HasSuffix(row.host, near) {
				situation += " on this machine"
			}
			said := row.want
			if code != 0 {
				said = fmt.Sprintf("an error, exit code %d: … %s …", code, row.want)
			}
			if strings.HasSuffix(row.parameters, "late.pem") {
				situation += map[bool]string{true: "; the file has come", false: "; the file has not come yet"}[code == 0]
				_ = os.Link(files+"/ca.pem", files+"/late.pem")
			}
			outcome(e, strings.ReplaceAll(situation, "FILES", "/…"), strings.ReplaceAll(said, "FILES", "/…"))
		}
	})
}
