// Package processes has tests run programs that keep a key, in processes of their own, and kill them. It is for
// tests alone.
package processes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// What a process is told in its environment.
const serverEnv, addressEnv, viaEnv = "PROCESSES_TEST_SERVER", "PROCESSES_TEST_ADDRESS", "ESPER_TEST_VIA"

// Devices is another endpoint of the server, for espertest.WithHandler, which programs call.
const Devices = "/v0/device/"

// Started reports whether this process is one that [Start] started.
func Started() bool { return os.Getenv(serverEnv) != "" }

// Main is the main program of a process, if this is one: it answers each line of its input with one. A test
// package calls it in its TestChild.
func Main(open func(address string) (renew.Store, error)) {
	if !Started() {
		return
	}
	ctx, server := context.Background(), os.Getenv(serverEnv)
	var s *renew.Source
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		command, key, _ := strings.Cut(in.Text(), " ")
		var err error
		switch command {
		case "open":
			var store renew.Store
			if store, err = open(os.Getenv(addressEnv)); err == nil {
				opts := []renew.Option{renew.WithInitialToken(esper.NewSecret(key))}
				if os.Getenv(viaEnv) == "personal-access-token" {
					opts = append(opts, renew.WithPersonalAccessTokens())
				}
				s, err = renew.Open(ctx, server, store, opts...)
			}
		case "renew":
			err = s.Renew(ctx)
		case "check":
			err = s.Check(ctx)
		case "call":
			err = call(ctx, s, server)
		case "loop":
			for {
				_ = s.Renew(ctx)
			}
		}
		fmt.Println(answer(s, err))
	}
	os.Exit(0)
}

func answer(s *renew.Source, err error) string {
	text := ""
	if err == nil {
		token, tokenErr := s.Token()
		if err = tokenErr; err == nil {
			text = "key " + token.AccessToken
		}
	}
	switch {
	case errors.Is(err, renew.ErrKeyLost):
		text = "lost " + err.Error()
	case err != nil:
		text = "error " + err.Error()
	}
	return strings.ReplaceAll(text, "\n", "; ")
}

// call does what the program is for.
func call(ctx context.Context, s *renew.Source, server string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+Devices, nil)
	if err != nil {
		return err
	}
	resp, err := s.Transport(nil).RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Process runs [Main].
type Process struct {
	t      testing.TB
	server *espertest.Server
	cmd    *exec.Cmd
	err    bytes.Buffer
	in     io.WriteCloser
	out    *bufio.Reader
}

// Start starts this test program again, which opens a store, with an initial key if that is not empty; its answer
// to that is the first to hear. It ends with the test, if not before.
func Start(t testing.TB, server *espertest.Server, address, initial string) *Process {
	const longest = 10 * time.Minute
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	p := &Process{t: t, server: server, cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$")}
	p.cmd.Env = append(os.Environ(), serverEnv+"="+server.URL, addressEnv+"="+address)
	p.cmd.Stderr = &p.err
	in, inErr := p.cmd.StdinPipe()
	out, outErr := p.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	t.Cleanup(func() { p.Kill(); cancel() })
	p.Tell("open " + initial)
	return p
}

// Tell gives it a command: renew, check, call, or loop, which does not end.
func (p *Process) Tell(command string) {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		p.t.Errorf("telling the process: %v", err)
	}
}

// Hear waits for an answer: "key" and the key, "lost" or "error" and the text.
func (p *Process) Hear() string {
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Errorf("hearing the process: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Ask is Tell and Hear.
func (p *Process) Ask(command string) string {
	p.Tell(command)
	return p.Hear()
}

// Signal sends a signal, of those that the system has.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill is kill -9.
func (p *Process) Kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it says that it was killed
		p.looksAtLog()
	}
}

// looksAtLog wants no key in what drivers have logged, and no panic.
func (p *Process) looksAtLog() {
	log := p.err.String()
	for _, r := range p.server.Requests() {
		key := r.Key.Reveal()
		for _, form := range []string{key, hex.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString([]byte(key))} {
			if key != "" && strings.Contains(log, form) {
				p.t.Errorf("the key is in the log of a process:\n%s", log)
				return
			}
		}
	}
	if strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
		p.t.Errorf("the process says:\n%s", log)
	}
}

// Posts counts the renewals that a server got.
func Posts(server *espertest.Server) (n int) {
	for _, r := range server.Requests() {
		if renews(r) {
			n++
		}
	}
	return n
}

// renews reports whether a request renews a key, in either way.
func renews(r espertest.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut
}

// NoSecondPost looks for a key that was to be renewed twice without a question about it in between.
func NoSecondPost(t testing.TB, server *espertest.Server) {
	t.Helper()
	begun := make(map[string]bool)
	for i, r := range server.Requests() {
		key := r.Key.Reveal()
		switch {
		case renews(r) && begun[key]:
			t.Fatalf("request %d renews a key for the second time without a check", i)
		case renews(r):
			begun[key] = true
		case strings.HasSuffix(r.Path, "/token-info/"):
			begun[key] = false
		}
	}
}
