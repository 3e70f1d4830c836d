//go:build machines

package faults

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// A renewal that is given up, or whose process is killed, while the network is cut: its kernel sends nothing more when
// the network is there again. The control is a request of net/http beside it, which does arrive then.
func TestNothingArrivesAfterTheEnd(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("proxy %t, killed %t", proxied, killed), func(t *testing.T) {
				t.Parallel()
				m := newMachine(t)
				s := newStreet(t, proxied)
				s.order.Limit = 5 * time.Second
				if killed {
					s.order.Limit = time.Minute
				}
				p := m.renew(s.order)
				renewal, control := p.connected()
				m.cut()
				_, err := fmt.Fprintln(p.in)
				must(err)
				for over := time.Now().Add(time.Minute); m.queued(renewal) == 0 || m.queued(control) == 0; <-time.After(time.Millisecond) {
					if time.Now().After(over) {
						t.Fatal("the requests were not sent: this test shows nothing")
					}
				}
				if killed {
					must(p.cmd.Process.Kill())
					_ = p.cmd.Wait()
				} else if said := p.hear(); !strings.Contains(said, "it is unknown whether") {
					t.Fatalf("the renewal ended with %s", said)
				}
				ended := time.Now()
				if n := m.queued(renewal); n != 0 {
					t.Errorf("the kernel would still send %d bytes of the renewal", n)
				}
				if m.queued(control) == 0 {
					t.Error("the kernel would send nothing of the control: this test shows nothing")
				}
				<-time.After(3 * time.Second)
				m.heal()
				select {
				case <-s.control:
				case <-time.After(2 * time.Minute):
					t.Fatal("the control did not arrive: this test shows nothing")
				}
				arrived := time.Since(ended)
				<-time.After(arrived)
				if n := s.Requests(http.MethodPost); n != 0 {
					t.Errorf("%d renewals arrived", n)
				}
				t.Logf("the control arrived %.1f s after the end; the renewal was awaited for %.1f s",
					arrived.Seconds(), time.Since(ended).Seconds())
			})
		}
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

// Renewals without a fault get their answers, although their connections end with RST.
func TestGoodRenewalsOverARealNetwork(t *testing.T) {
	const renewals = 100
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxy %t", proxied), func(t *testing.T) {
			s := newStreet(t, proxied)
			s.order.Limit, s.order.Renewals = 30*time.Second, renewals
			if said := newMachine(t).renew(s.order).hear(); said != allRenewed || s.Renewals() != renewals {
				t.Errorf("%d of %d renewals: %s", s.Renewals(), renewals, said)
			}
		})
	}
}

// street is what a machine reaches: a server with TLS, a proxy before it if wanted, and a plain server for the control.
type street struct {
	*fake
	order   order
	control chan struct{} // closed when the control has arrived
}

// order says what a process is to do.
type order struct {
	Server, Control string // addresses; Server is that of the proxy if there is one
	Proxied         bool
	CA              string // a file
	Limit           time.Duration
	Renewals        int // one after the other; 0 means one with a control beside it, after a pause
}

func newStreet(t *testing.T, proxied bool) *street {
	t.Helper()
	shown, _ := sameCA(t, host)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown.Certificate[0]}), 0o600))
	l := listenAt(t, road)
	secured := tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}})
	s := &street{fake: &fake{espertest.NewServer(t, espertest.WithToken(canary), espertest.WithListener(secured)), l}}
	plain := listenAt(t, road)
	s.control = make(chan struct{})
	arrived := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(s.control) })
	go func() { _ = (&http.Server{ReadHeaderTimeout: time.Hour, Handler: arrived}).Serve(plain) }()
	s.order = order{Server: s.Address(), Control: plain.Addr().String(), CA: ca, Proxied: proxied}
	if proxied {
		proxy := listenAt(t, road)
		s.order.Server = proxy.Addr().String()
		each(t, proxy, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			if r, err := http.ReadRequest(in); err == nil && r.Method == http.MethodConnect {
				tunnel(t, conn, in, s.Address())
			}
		})
	}
	return s
}

const renewerEnv, allRenewed = "FAULTS_RENEWER", "all renewed"

// renewing is a process on a machine that follows an order.
type renewing struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func (m *machine) renew(o order) *renewing {
	m.t.Helper()
	text, err := json.Marshal(o)
	must(err)
	self, err := os.Executable()
	must(err)
	cmd := m.command(self)
	cmd.Env = append(os.Environ(), renewerEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	must(inErr, outErr, cmd.Start())
	m.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &renewing{m.t, cmd, in, bufio.NewScanner(out)}
}

func (r *renewing) hear() string {
	r.t.Helper()
	if !r.out.Scan() {
		r.t.Fatalf("the process said no more: %v", r.out.Err())
	}
	return r.out.Text()
}

// connected waits until both connections are there, and returns their ports.
func (r *renewing) connected() (renewal, control uint16) {
	r.t.Helper()
	for renewal == 0 || control == 0 {
		var name string
		var port uint16
		said := r.hear()
		if _, err := fmt.Sscan(said, &name, &port); err != nil {
			r.t.Fatal(said)
		}
		if name == "renewal" {
			renewal = port
		} else {
			control = port
		}
	}
	return renewal, control
}

// renewer is the main function of the process.
func renewer() {
	var o order
	must(json.Unmarshal([]byte(os.Getenv(renewerEnv)), &o))
	text, err := os.ReadFile(o.CA)
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, o.Server)
	}
	if o.Proxied {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
	}
	tokens := &latestKey{key: canary}
	client, err := esper.New("https://"+host+"/api", tokens, esper.WithTransport(transport), esper.WithTimeout(o.Limit))
	must(err)
	ask := esper.RenewRequest{
		EnterpriseID: enterpriseID, DeveloperAppID: developerAppID, AccessToken: esper.NewSecret(canary),
	}
	for range o.Renewals {
		renewed, err := client.RenewToken(context.Background(), ask)
		if err != nil {
			fmt.Println(err)
			return
		}
		tokens.key, ask.AccessToken = renewed.Token.Reveal(), renewed.Token
	}
	if o.Renewals > 0 {
		fmt.Println(allRenewed)
		return
	}

	// Both requests have a connection, and wait, when the network is cut.
	goOn := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
	defer cancel()
	pausing := func(name string) context.Context {
		return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			_, port, _ := net.SplitHostPort(info.Conn.LocalAddr().String())
			fmt.Println(name, port)
			<-goOn
		}})
	}
	go func() {
		req, err := http.NewRequestWithContext(pausing("control"), http.MethodPost, "http://"+o.Control, nil)
		must(err)
		_, _ = new(http.Transport).RoundTrip(req)
	}()
	go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n'); close(goOn) }()
	_, err = client.RenewToken(pausing("renewal"), ask)
	fmt.Println("ended:", err)
	select {} // the process lives on
}

// latestKey is a token source.
type latestKey struct{ key string }

func (k *latestKey) Token() (*oauth2.Token, error) { return &oauth2.Token{AccessToken: k.key}, nil }
