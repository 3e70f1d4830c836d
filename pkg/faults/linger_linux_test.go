//go:build machines

package faults

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
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

			ports := make(map[string]uint16)
			for range 2 {
				var who string
				var port uint16
				said := hear()
				if _, err := fmt.Sscan(said, &who, &port); err != nil {
					t.Fatal(said)
				}
				ports[who] = port
			}
			m.cut()
			_, err = fmt.Fprintln(in)
			must(err)
			for over := time.Now().Add(time.Minute); m.queued(ports["renewal"]) == 0 || m.queued(ports["control"]) == 0; <-time.After(time.Millisecond) {
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
			if n := m.queued(ports["renewal"]); n != 0 {
				t.Errorf("the kernel would still send %d bytes of the renewal", n)
			}
			if m.queued(ports["control"]) == 0 {
				t.Error("the kernel would send nothing of the control: this test shows nothing")
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

// queued returns how many bytes the machine's kernel is to send, or to send again, from a port.
func (m *machine) queued(port uint16) (bytes int64) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", m.holder.Process.Pid))
	must(err)
	for line := range strings.Lines(string(table)) {
		const local, queues = 1, 4 // ADDRESS:PORT, SEND:RECEIVE
		fields := strings.Fields(line)
		if send, _, ok := strings.Cut(fields[queues], ":"); ok && strings.HasSuffix(fields[local], fmt.Sprintf(":%04X", port)) {
			n, err := strconv.ParseInt(send, 16, 64)
			must(err)
			bytes += n
		}
	}
	return bytes
}

// renewerEnv says what the process on the machine is to do: base URL, key, address of the control, limit.
const renewerEnv = "FAULTS_RENEWER"

// renewer is the main function of that process. It makes both connections, says their ports, sends the requests when it
// is told to, says how the renewal ended, and lives on.
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
	pausing := func(name string) context.Context {
		return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			_, port, _ := net.SplitHostPort(info.Conn.LocalAddr().String())
			fmt.Println(name, port)
			<-goOn
		}})
	}
	go func() {
		req, err := http.NewRequestWithContext(pausing("control"), http.MethodPost, "http://"+control, nil)
		must(err)
		_, _ = new(http.Transport).RoundTrip(req)
	}()
	go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); close(goOn) }()
	_, err = client.RenewToken(pausing("renewal"), esper.RenewRequest{EnterpriseID: enterpriseID, DeveloperAppID: developerAppID})
	fmt.Println("ended:", err)
	select {}
}
