//go:build machines

package faults

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// newLab starts PostgreSQL, the server and two machines with esper-key, and stores the first key.
func newLab(t *testing.T, random *rand.Rand) *lab {
	t.Helper()
	l := &lab{t: t, random: random}
	file, err := os.OpenFile(os.Getenv(clockEnv), os.O_RDWR, 0)
	must(err)
	shared, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(err)
	l.clock = (*atomic.Int64)(unsafe.Pointer(&shared[0]))

	folder := t.TempDir()
	shown := certificate(host, 200*365*24*time.Hour)
	ca := filepath.Join(folder, "ca.pem")
	must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Certificate[0]}), 0o600))
	secured := tls.NewListener(listen(t, road), &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}})
	l.server = espertest.NewServer(t, espertest.WithListener(door{secured, l}))
	l.server.Fail(-1, espertest.Fault{Handled: true}) // acts even if the client has gone
	l.env = []string{
		"SSL_CERT_FILE=" + ca, clockEnv + "=" + os.Getenv(clockEnv),
		"ESPER_ENVIRONMENT=" + strings.Replace(l.server.URL, "http:", "https:", 1),
		"ESPER_KEY_STORE=postgres://esper@" + road + ":5432/postgres?sslmode=disable",
	}
	l.startPostgres()
	for i, ahead := range []time.Duration{0, 11 * time.Minute} {
		name := string(rune('A' + i))
		l.hosts[i] = &keeper{
			machine: newMachine(t), name: name, ahead: fmt.Sprint(ahead.Seconds()),
			token: filepath.Join(folder, name, "token"), log: filepath.Join(folder, name+".log"),
		}
		must(os.Mkdir(filepath.Dir(l.hosts[i].token), 0o700))
	}
	first := filepath.Join(folder, "first")
	must(os.WriteFile(first, []byte(l.server.Token()), 0o600))
	if out, err := l.command(l.hosts[0], "adopt", "--key-file", first).CombinedOutput(); err != nil {
		t.Fatalf("adopt: %v: %s", err, out)
	}
	for _, h := range l.hosts {
		l.start(h)
	}
	l.until(0, "the first key everywhere", func() bool { return l.everywhere(l.server.Token()) })
	return l
}

// command prepares esper-key on a machine. ESPER_KEY names the binary, built with the overlay of package clock.
func (l *lab) command(h *keeper, args ...string) *exec.Cmd {
	cmd := h.machine.command(os.Getenv("ESPER_KEY"), args...)
	cmd.Env = append(l.env, "PATH="+os.Getenv("PATH"), "HOME=/nonexistent", "CLOCK_AHEAD="+h.ahead)
	return cmd
}

// start starts esper-key on a machine.
func (l *lab) start(h *keeper) {
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
	defer func() { _ = log.Close() }()
	h.run = l.command(h, "run", "--write-token", h.token, "--listen", h.address()+":9464")
	h.run.Stdout, h.run.Stderr = log, log
	must(h.run.Start())
}

// startPostgres starts a PostgreSQL server at the road, with the store's table. PostgreSQL does not run as root.
func (l *lab) startPostgres() {
	l.t.Helper()
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(programs) == 0 {
		l.t.Fatal("PostgreSQL is not installed")
	}
	folder, err := os.MkdirTemp("", "faults-postgres-") // below TempDir, only this user may read
	must(err, exec.Command("chown", "postgres", folder).Run())
	const script = `set -e
		cd "$1"
		"$2"/initdb -D data -U esper --auth=trust --no-instructions --no-sync
		echo 'host all all 10.77.0.0/24 trust' >data/pg_hba.conf
		exec "$2"/postgres -D data -c listen_addresses="$3" -c unix_socket_directories="$1"`
	var said bytes.Buffer
	server := exec.Command("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL",
		"sh", "-c", script, "sh", folder, programs[len(programs)-1], road)
	server.Stdout, server.Stderr = &said, &said
	must(server.Start())
	l.t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
		_ = os.RemoveAll(folder)
	})
	for over := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		out, err := l.psql(sqlstore.Schema(sqlstore.PostgreSQL))
		if err == nil {
			return
		}
		if time.Now().After(over) {
			_ = server.Process.Kill()
			_ = server.Wait()
			l.t.Fatalf("PostgreSQL is not ready: %v: %s: %s", err, out, said.String())
		}
	}
}

// psql runs a statement on the road.
func (l *lab) psql(statement string) (string, error) {
	out, err := exec.Command("psql", "-h", road, "-U", "esper", "-d", "postgres", "-At", "-c", statement).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// everywhere reports whether both machines and the store have key.
func (l *lab) everywhere(key string) bool {
	for _, h := range l.hosts {
		if text, err := os.ReadFile(h.token); err != nil || strings.TrimSpace(string(text)) != key {
			return false
		}
	}
	text, err := l.psql("SELECT convert_from(document, 'UTF8') FROM esper_keys")
	return err == nil && strings.Contains(text, key)
}

// isLost reports whether both machines say that the key is lost.
func (l *lab) isLost() bool {
	for _, h := range l.hosts {
		if text, err := l.metrics(h); err != nil || !strings.Contains(text, "\nesper_key_lost 1\n") {
			return false
		}
	}
	return true
}

// metrics asks the esper-key of a machine for its metrics.
func (l *lab) metrics(h *keeper) (string, error) {
	resp, err := (&http.Client{Timeout: time.Second}).Get("http://" + h.address() + ":9464/metrics")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// door is the way to the server.
type door struct {
	net.Listener
	lab *lab
}

func (d door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	return &visit{Conn: conn, lab: d.lab, accepted: time.Now()}, err
}

// visit is a connection of a machine to the server. A request is read at once, and so is an answer written.
type visit struct {
	net.Conn
	lab      *lab
	accepted time.Time
	renews   atomic.Pointer[keeper] // the machine, once its renewal has arrived and until it is answered
}

func (v *visit) Read(b []byte) (int, error) {
	n, err := v.Conn.Read(b)
	if r, bad := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n]))); bad == nil && r.Method == http.MethodPost {
		l := v.lab
		l.acting.Add(1)
		address, _, _ := net.SplitHostPort(v.RemoteAddr().String())
		h := l.hosts[slices.IndexFunc(l.hosts[:], func(h *keeper) bool { return h.address() == address })]
		v.renews.Store(h)
		l.mu.Lock()
		l.posts = append(l.posts, post{h, r.URL.Query().Get("access_token"), time.Now(), v.accepted})
		acts := l.fault.acts
		l.mu.Unlock()
		l.happened(atArrival, h)
		for range acts {
			_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil) // by the kernel's clock
		}
	}
	return n, err
}

func (v *visit) Write(b []byte) (int, error) {
	h := v.renews.Load()
	if h == nil {
		return v.Conn.Write(b)
	}
	v.lab.happened(atAct, h)
	n, err := v.Conn.Write(b)
	v.answered()
	go v.lab.happened(atAnswer, h)
	return n, err
}

func (v *visit) Close() error {
	v.answered() // or never: the client has gone
	return v.Conn.Close()
}

func (v *visit) answered() {
	if v.renews.Swap(nil) != nil {
		v.lab.acting.Add(-1)
	}
}
