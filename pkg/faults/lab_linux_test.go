//go:build machines

package faults

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
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
	l := &lab{t: t, random: random, befell: make(map[string]int), server: espertest.NewServer(t)}
	file, err := os.OpenFile(os.Getenv(clockEnv), os.O_RDWR, 0)
	must(err)
	shared, err := syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(err)
	l.clock = (*atomic.Int64)(unsafe.Pointer(&shared[0]))

	folder := t.TempDir()
	shown, _ := certificate(t, host, time.Now().Add(200*365*24*time.Hour))
	ca := filepath.Join(folder, "ca.pem")
	must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Certificate[0]}), 0o600))
	front := listenAt(t, road)
	secured := tls.NewListener(front, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}})
	accept := func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, accepted{}, time.Now())
	}
	web := &http.Server{ReadHeaderTimeout: time.Hour, Handler: l, ConnContext: accept}
	go func() { _ = web.Serve(secured) }()

	base, err := url.Parse(l.server.URL)
	must(err)
	base.Scheme, base.Host = "https", front.Addr().String()
	l.env = []string{
		"SSL_CERT_FILE=" + ca, clockEnv + "=" + os.Getenv(clockEnv), "ESPER_ENVIRONMENT=" + base.String(),
		"ESPER_KEY_STORE=postgres://esper@" + road + ":5432/postgres?sslmode=disable",
	}
	startPostgres(t)
	if _, err := l.psql(sqlstore.Schema(sqlstore.PostgreSQL)); err != nil {
		t.Fatal(err)
	}
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

// startPostgres starts a PostgreSQL server at the road.
func startPostgres(t *testing.T) {
	t.Helper()
	programs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(programs) == 0 {
		t.Fatal("PostgreSQL is not installed")
	}
	bin := programs[len(programs)-1]
	account, err := user.Lookup("postgres") // PostgreSQL does not run as root
	must(err)
	uid, uidErr := strconv.Atoi(account.Uid)
	gid, gidErr := strconv.Atoi(account.Gid)
	folder, err := os.MkdirTemp("", "faults-postgres-") //nolint:usetesting // below TempDir, only this user may read
	must(uidErr, gidErr, err, os.Chown(folder, uid, gid))
	as := &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		Pdeathsig:  syscall.SIGKILL,
	}
	data := filepath.Join(folder, "data")
	initdb := exec.Command(bin+"/initdb", "-D", data, "-U", "esper", "--auth=trust", "--no-instructions", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = folder, as
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	must(os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("host all all 10.77.0.0/24 trust\n"), 0o600))
	server := exec.Command(bin+"/postgres", "-D", data, "-c", "listen_addresses="+road,
		"-c", "unix_socket_directories="+folder)
	server.Dir, server.SysProcAttr = folder, as
	must(server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
		_ = os.RemoveAll(folder)
	})
	for over := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		out, err := exec.Command(bin+"/pg_isready", "-h", road).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("PostgreSQL is not ready: %v: %s", err, out)
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
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.address()+":9464/metrics", nil)
		must(err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !strings.Contains(string(text), "\nesper_key_lost 1\n") {
			return false
		}
	}
	return true
}

// accepted is the key of a request's context for the time at which its connection was accepted.
type accepted struct{}

// ServeHTTP passes a request on to the server, which acts even if the client has gone.
func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var from *keeper
	for _, h := range l.hosts {
		if address, _, _ := net.SplitHostPort(r.RemoteAddr); address == h.address() {
			from = h
		}
	}
	renewal := r.Method == http.MethodPost
	if renewal {
		l.mu.Lock()
		since, _ := r.Context().Value(accepted{}).(time.Time)
		l.posts = append(l.posts, post{from, r.URL.Query().Get("access_token"), time.Now(), since})
		acts := l.fault.acts
		l.mu.Unlock()
		l.happened(atArrival, from)
		for range acts {
			_ = syscall.Nanosleep(&syscall.Timespec{Nsec: 1e6}, nil) // by the kernel's clock
		}
	}
	body, err := io.ReadAll(r.Body)
	must(err)
	on := r.Clone(context.WithoutCancel(r.Context()))
	on.RequestURI, on.URL.Scheme, on.URL.Host = "", "http", strings.Split(l.server.URL, "/")[2]
	on.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := new(http.Transport).RoundTrip(on)
	must(err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	must(err)
	if renewal {
		l.happened(atAct, from)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
	if renewal {
		_ = http.NewResponseController(w).Flush()
		go l.happened(atAnswer, from)
	}
}
