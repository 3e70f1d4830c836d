//go:build unix

package esper_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

const stopLimit = 2 * time.Second // WithTimeout of a process that is stopped

// child runs this test's binary as a program of its own, which makes the one call of TestChild.
func child(t *testing.T, variables ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), variables...)
	return cmd
}

// TestChild is the program of child; as a test it does nothing.
func TestChild(t *testing.T) {
	environment := os.Getenv("CHILD_RENEWS")
	if environment == "" {
		return
	}
	pid := esper.WithUserAgent(strconv.Itoa(os.Getpid()))
	client := clientFor(t, environment, oldKey, esper.WithTimeout(stopLimit), pid)
	renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
	if err == nil {
		fmt.Println("key", renewed.Token.Reveal())
	}
	fmt.Println(err)
}

// A process that is stopped (SIGSTOP) while the limit of its renewal passes finds the whole answer in its buffers when
// it goes on, and takes the key. Without the grace, some of twenty would lose it.
func TestStoppedDuringARenewal(t *testing.T) {
	p := newProbe(t, func(w http.ResponseWriter, r *http.Request) {
		pid, err := strconv.Atoi(r.UserAgent())
		if err = errors.Join(err, syscall.Kill(max(2, pid), syscall.SIGSTOP)); err != nil {
			t.Error(err)
			return
		}
		time.AfterFunc(stopLimit+stopLimit/4, func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		answers(201, "application/json", realRenewal)(w, r)
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			out, err := child(t, "CHILD_RENEWS="+p.URL).Output()
			text := string(out) // a child that is too slow to send anything renews nothing
			if err != nil || !strings.Contains(text, "key "+newKey) && !strings.Contains(text, "nothing was renewed") {
				t.Errorf("the key is lost: %s, %v", text, err)
			}
		})
	}
	all.Wait()
	equal(t, "a renewal arrived", len(p.arrivals()) > 0, true)
}

// On a machine without CA certificates, as in an empty container, the error says so. A company's proxy is not blamed.
func TestNoCertificates(t *testing.T) {
	p := newProbe(t, nil, new(tls.Config))
	own := filepath.Join(t.TempDir(), "own.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	must(t, os.WriteFile(own, cert, 0o600))
	const missing = "no CA certificates; install them (ca-certificates), or name a file of them in SSL_CERT_FILE"
	for file, says := range map[string]string{os.DevNull: "this machine has " + missing, own: "<nil>"} {
		out, err := child(t, "CHILD_RENEWS="+p.URL, "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+t.TempDir()).CombinedOutput()
		if err != nil || !strings.Contains(string(out), says) {
			t.Errorf("%s: %s, %v", filepath.Base(file), out, err)
		}
	}
}
