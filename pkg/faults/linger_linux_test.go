//go:build machines

package faults

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// A renewal that is given up, or whose process is killed, while the network is cut: its kernel sends nothing more when
// the network is there again. The control is a request of net/http beside it, which does arrive then.
func TestNothingArrivesAfterTheEnd(t *testing.T) {
	for name, limit := range map[string]time.Duration{"given up": 5 * time.Second, "killed": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			s := espertest.NewServer(t, espertest.WithListener(listen(t, road)))
			plain, controlled := listen(t, road), make(chan struct{})
			arrived := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(controlled) })
			go func() { _ = (&http.Server{ReadHeaderTimeout: time.Hour, Handler: arrived}).Serve(plain) }()

			self, err := os.Executable()
			must(err)
			cmd := m.command(self)
			cmd.Env = append(os.Environ(), renewerEnv+"="+fmt.Sprintln(s.URL, s.Token(), plain.Addr(), int64(limit)))
			cmd.Stderr = os.Stderr
			in, inErr := cmd.StdinPipe()
			out, outErr := cmd.StdoutPipe()
			must(inErr, outErr, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			lines := bufio.NewScanner(out)
			hear := func() string { lines.Scan(); return lines.Text() }

			if said := hear() + hear(); said != "connectedconnected" {
				t.Fatal(said)
			}
			m.cut()
			_, err = fmt.Fprintln(in)
			must(err)
			for over := time.Now().Add(time.Minute); m.sending() < 2; <-time.After(time.Millisecond) {
				if time.Now().After(over) {
					t.Fatal("the requests were not sent: this test shows nothing")
				}
			}
			if name == "killed" {
				must(cmd.Process.Kill())
				_ = cmd.Wait()
			} else if said := hear(); !strings.Contains(said, "it is unknown whether") {
				t.Fatalf("the renewal ended with %s", said)
			}
			ended := time.Now()
			if n := m.sending(); n != 1 { // that of the control
				t.Errorf("the kernel would still send the bytes of %d connections, want 1", n)
			}
			<-time.After(3 * time.Second)
			m.heal()
			select {
			case <-controlled:
			case <-time.After(2 * time.Minute):
				t.Fatal("the control did not arrive: this test shows nothing")
			}
			took := time.Since(ended)
			<-time.After(took)
			if n := len(s.Requests()); n != 0 {
				t.Errorf("%d renewals arrived", n)
			}
			t.Logf("the control arrived %v after the end; the renewal was awaited for %v", took, time.Since(ended))
		})
	}
}

// sending counts the connections of which the machine's kernel is to send something, or to send it again.
func (m *machine) sending() (connections int) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", m.holder.Process.Pid))
	must(err)
	for line := range strings.Lines(string(table)) {
		const queues = 4 // SEND:RECEIVE
		if send, _, ok := strings.Cut(strings.Fields(line)[queues], ":"); ok && strings.Trim(send, "0") != "" {
			connections++
		}
	}
	return connections
}

// renewerEnv says what the process on the machine is to do: base URL, key, address of the control, limit.
const renewerEnv = "FAULTS_RENEWER"

// renewer is the main function of that process. It makes both connections, says so, sends the requests when it is told
// to, says how the renewal ended, and lives on.
func renewer(order string) {
	var base, key, control string
	var limit time.Duration
	_, err := fmt.Sscan(order, &base, &key, &control, &limit)
	must(err)
	client, err := esper.New(base, esper.APIKey(key), esper.WithTimeout(limit), esper.WithInsecureHTTP())
	must(err)
	goOn := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		fmt.Println("connected")
		<-goOn
	}})
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+control, nil)
		must(err)
		_, _ = new(http.Transport).RoundTrip(req)
	}()
	go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); close(goOn) }()
	_, err = client.RenewToken(ctx, esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: developerAppID})
	fmt.Println("ended:", err)
	select {}
}
