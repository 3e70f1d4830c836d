// Package processes lets tests run programs that store a key, each in a process of its own, and kill them. Only tests
// use it.
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
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// Environment variables: Start sets the first two for the process, and a test sets viaEnv to choose how to renew.
const serverEnv, addressEnv, viaEnv = "PROCESSES_TEST_SERVER", "PROCESSES_TEST_ADDRESS", "ESPER_TEST_VIA"

// Devices is the path of an endpoint that the programs call. A test serves it with espertest.WithHandler.
const Devices = "/v0/device/"

// Started reports whether this process is one that [Start] started.
func Started() bool { return os.Getenv(serverEnv) != "" }

// Main is the main program of a process that [Start] started. It answers each line of its input with one line, and
// exits at the end of the input. In any other process it returns at once. A test package calls it in its TestChild.
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

// call sends a request to Devices with the source's key.
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

// Process is a process that runs [Main].
type Process struct {
	t      testing.TB
	server *espertest.Server
	cmd    *exec.Cmd
	err    bytes.Buffer
	in     io.WriteCloser
	out    *bufio.Reader
}

// Start starts this test program again as a process. The process opens the store at address, with the key initial if
// that is not empty, and [Process.Hear] first returns its answer to that. The process ends with the test, if not before.
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

// Tell gives the process a command: renew, check, call, or loop, which does not end.
func (p *Process) Tell(command string) {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		p.t.Errorf("telling the process: %v", err)
	}
}

// Hear waits for an answer and returns it: "key" with the key, or "lost" or "error" with the text of the error.
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

// Signal sends the process a signal. Which signals there are depends on the system.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process at once, as kill -9 does, and looks at its log.
func (p *Process) Kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // the error only says that the process was killed
		p.looksAtLog()
	}
}

// looksAtLog fails the test if the process has logged a key, a panic or a data race.
func (p *Process) looksAtLog() {
	log := p.err.String()
	for _, r := range p.server.Requests() {
		if key := r.Key.Reveal(); key != "" && Holds(log, key) {
			p.t.Errorf("the key is in the log of a process:\n%s", log)
			return
		}
	}
	if strings.Contains(log, "panic") || strings.Contains(log, "DATA RACE") {
		p.t.Errorf("a process logged a panic or a data race:\n%s", log)
	}
}

// Holds reports whether a text has a key: as it is, in hex, in base64 or as in a URL.
func Holds(text, key string) bool {
	inBase64 := strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(key)), "=")
	return slices.ContainsFunc([]string{key, hex.EncodeToString([]byte(key)), inBase64, url.QueryEscape(key)},
		func(form string) bool { return strings.Contains(text, form) })
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

// renews reports whether a request renews a key, at either of the two endpoints for that.
func renews(r espertest.Request) bool {
	return r.Method == http.MethodPost || r.Method == http.MethodPut
}

// NoSecondPost fails the test if a key was renewed twice without a request for its token info in between.
func NoSecondPost(t testing.TB, server *espertest.Server) {
	t.Helper()
	begun := make(map[string]bool)
	for i, r := range server.Requests() {
		key := r.Key.Reveal()
		switch {
		case renews(r) && begun[key]:
			t.Fatalf("request %d renews a key for the second time, without a request for its token info in between", i)
		case renews(r):
			begun[key] = true
		case strings.HasSuffix(r.Path, "/token-info/"):
			begun[key] = false
		}
	}
}
