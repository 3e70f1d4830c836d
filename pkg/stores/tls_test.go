//go:build linux

package stores

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// relay stands between clients and a server, whose address is to. It keeps what is sent, as somebody on the way could,
// and it breaks the connections as a network can.
type relay struct {
	listens, to string
	before      func(client, server net.Conn) error // what begins each connection, or nil
	sent        tape
	ways        [2]atomic.Pointer[way] // to the server, and from it
	stop        func()                 // ends all connections; until start, none is accepted
}

// way is what happens to the data in one direction, in each connection. The zero value lets everything pass.
type way struct {
	delay  time.Duration
	broken bool // after so many bytes no more pass
	passes int
	silent bool // nobody notices; otherwise the connection ends then
}

func relayTo(t *testing.T, server string, before func(client, server net.Conn) error) *relay {
	t.Helper()
	r := &relay{listens: "127.0.0.1:" + freePort(t), to: server, before: before} // nobody takes that port while it is stopped
	r.set(way{}, way{})
	r.start(t)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *relay) set(to, from way) {
	r.ways[0].Store(&to)
	r.ways[1].Store(&from)
}

func (r *relay) start(t *testing.T) {
	t.Helper()
	var l net.Listener
	eventually(t, func() (err error) { // the system may need a moment to give the port back
		l, err = net.Listen("tcp", r.listens)
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = func() {
		_ = l.Close()
		cancel()
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go r.connect(ctx, client)
		}
	}()
}

func (r *relay) connect(ctx context.Context, client net.Conn) {
	context.AfterFunc(ctx, func() { _ = client.Close() })
	server, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err == nil && r.before != nil {
		err = r.before(client, server)
	}
	if err != nil {
		_ = client.Close()
		return
	}
	go r.copy(server, client, &r.ways[0])
	r.copy(client, server, &r.ways[1])
}

func (r *relay) copy(to, from net.Conn, direction *atomic.Pointer[way]) {
	defer func() { _ = errors.Join(to.Close(), from.Close()) }()
	now, left := new(way), 0
	for buffer := make([]byte, 1<<15); ; {
		n, err := from.Read(buffer)
		if w := direction.Load(); w != now {
			now, left = w, w.passes
		}
		<-time.After(now.delay)
		data := buffer[:n]
		if now.broken {
			data = data[:min(n, left)]
			left -= len(data)
		}
		_, _ = r.sent.Write(data)
		if _, writeErr := to.Write(data); err != nil || writeErr != nil || len(data) < n && !now.silent {
			return
		}
	}
}

// withoutTLS begins a connection to an engine as if the server offered no TLS.
func withoutTLS(e *engine) func(client, server net.Conn) error {
	return func(client, server net.Conn) error {
		first := make([]byte, 1<<10) // what one of them says before it hears the other
		if e.kind == "pgx" {
			n, err := client.Read(first)
			if question := []byte{0, 0, 0, 8, 4, 210, 22, 47}; err == nil && bytes.Equal(first[:n], question) { // may I use TLS?
				_, err = client.Write([]byte("N"))
			} else if err == nil {
				_, err = server.Write(first[:n])
			}
			return err
		}
		n, err := server.Read(first) // what the server can do
		if err == nil {
			// a header of four bytes, a protocol number, the version, a NUL, and 13 bytes stand before the flags, of which 0x0800 is TLS
			first[5+bytes.IndexByte(first[5:], 0)+1+13+1] &^= 0x08
			_, err = client.Write(first[:n])
		}
		return err
	}
}

// certificates writes into a folder the certificate of Go's test servers, which signs itself and names 127.0.0.1, and its
// key: all engines use it. The certificate of a stranger, and a file without one, are for clients.
func certificates(t testing.TB, folder string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	server.Close()
	own, _ := server.TLS.Certificates[0].PrivateKey.(crypto.Signer)
	key, err := x509.MarshalPKCS8PrivateKey(own)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	stranger, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	must(t, err)
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: server.Certificate().Raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: key},
		"stranger.pem": {Type: "CERTIFICATE", Bytes: stranger}, "not.pem": {Type: "NOTHING"},
	} {
		must(t, os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600))
	}
}

// TestTLS reads what esper-key sends to a database, over a relay that leads to a server with TLS, or to one without. The
// address 0.0.0.0 leads to this machine, although it is no loopback address.
func TestTLS(t *testing.T) {
	const far, near, encrypted, plain, none, unknown = "0.0.0.0", "127.0.0.1", "TLS", "plain text", "the server offers no TLS", "unknown authority"
	on(t, databases, func(t *testing.T, e *engine) {
		files := newFolder(t) // an error shows its name: digits and both cases in a row could be a key
		certificates(t, files)
		for _, row := range []struct {
			host, alike   string // parameters that mean the same
			with, without string // what comes of it if the server offers TLS and if it does not, or a part of the error
		}{
			{far, "", encrypted, none},
			{near, "", encrypted, plain},
			{far, "sslmode=prefer ssl-mode=PREFERRED tls=preferred", encrypted, plain},
			{far, "sslmode=disable ssl-mode=DISABLED useSSL=false tls=false", plain, ""},
			{near, "sslmode=require ssl-mode=REQUIRED useSSL=true", encrypted, none},
			{near, "tls=skip-verify", encrypted, ""},
			{near, "tls=true sslmode=verify-full", unknown, ""},
			{far, "ssl-ca=FILES/ca.pem", encrypted, none},
			{far, "ssl-ca=FILES/stranger.pem", unknown, ""},
			{near, "tls=true&ssl-ca=FILES/ca.pem", encrypted, ""},
			{far, "ssl-mode=VERIFY_IDENTITY&sslrootcert=FILES/ca.pem", "not 0.0.0.0", ""}, // the certificate names another host
			{far, "sslrootcert=FILES/missing.pem", "FILES/missing.pem: no such file", ""}, // it may come later
			{far, "ssl-ca=FILES/not.pem", "FILES/not.pem has no certificate", ""},
		} {
			for parameters := range strings.SplitSeq(row.alike, " ") {
				for situation, want := range map[string]string{"with TLS": row.with, "without TLS": row.without} {
					if want == "" {
						continue
					}
					server, before := newServer(t), withoutTLS(e)
					if situation == "with TLS" {
						before = nil
					}
					r := relayTo(t, e.listens, before)
					at := e.via(strings.Replace(r.listens, near, row.host, 1)).url(e.root, strings.ReplaceAll("name="+newName()+"&"+parameters, "FILES", files))
					got, code := esperKey(t, server, at, nil, "adopt")
					switch readable := holds(r.sent.String(), server.Token()); {
					case readable && code == 0:
						got = plain
					case readable:
						got += ", and the key in plain text"
					case code == 0:
						got = encrypted
					}
					said, wanted := want, 0
					if want != encrypted && want != plain {
						said, wanted = "an error, exit code 1: … "+want+" …", 1
					}
					if code != wanted || !strings.Contains(got, strings.ReplaceAll(want, "FILES", files)) {
						t.Errorf("%s, %s ?%s: %d, %s\nwant %d, %s", situation, row.host, parameters, code, got, wanted, want)
					}
					situation = "`" + cmp.Or(parameters, "no parameter") + "`, " + situation + " on the server"
					if row.host == near {
						situation += " on this machine"
					}
					outcome(e, strings.ReplaceAll(situation, "FILES", "/…"), strings.ReplaceAll(said, "FILES", "/…"))
				}
			}
		}
	})
}
