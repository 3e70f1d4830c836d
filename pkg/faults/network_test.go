package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"
)

const (
	broken    = "connection broken"
	hidden    = "“HTTP/1.x transport connection broken”" // what follows in the text of net/http depends on the answer
	timedOut  = "DeadlineExceeded"
	unknown   = "OutcomeUnknown, "
	notDone   = "OutcomeNotRenewed, "
	unread    = "OutcomeUnreadable, "
	succeeded = "success"
)

func networkFaults() []fault {
	return []fault{
		{"connection refused", ample, refused, want{"connection refused", 0}, want{notDone + "connection refused", 0}},
		{"no answer to a dial (full backlog)", short, fullBacklog, want{timedOut, 0}, want{notDone + timedOut, 0}},
		{"dial slower than the timeout", short, slowDial, want{timedOut, 0}, want{notDone + timedOut, 0}},
		{"host name not found", ample, noName, want{"net.DNSError", 0}, want{notDone + "net.DNSError", 0}},
		{"black hole once connected", short, through(upstream("timeout", `{"timeout":0}`)), want{timedOut, 0}, want{unknown + timedOut, 0}},
		{"no answer", short, scripted(silence), want{timedOut, attempts}, want{unknown + timedOut, 1}},
		{"reset before the request", ample, through(upstream("reset_peer", `{"timeout":0}`)), want{broken, 0}, want{unknown + broken, 0}},
		{"close before the request", ample, through(cutAt("upstream", 0)), want{broken, 0}, want{unknown + broken, 0}},
		{"reset during the request", ample, through(cutAt("upstream", 40), reset("upstream")), want{broken, 0}, want{unknown + broken, 0}},
		{"close during the request", ample, through(cutAt("upstream", 40)), want{broken, 0}, want{unknown + broken, 0}},
		{"reset after the request", ample, through(downstream("reset_peer", `{"timeout":0}`)), want{broken, attempts}, want{unknown + broken, 1}},
		{"close after the request", ample, through(cutAt("downstream", 0)), want{broken, attempts}, want{unknown + broken, 1}},
		{"latency of 10 ms, jitter 10 ms", ample, through(downstream("latency", `{"latency":10,"jitter":10}`)), want{succeeded, 1}, want{succeeded, 1}},
		{"latency beyond the timeout, with jitter", short, through(downstream("latency", `{"latency":8000,"jitter":2000}`)), want{timedOut, attempts}, want{unknown + timedOut, 1}},
		{"1 kB/s, within the timeout", ample, through(downstream("bandwidth", `{"rate":1}`)), want{succeeded, 1}, want{succeeded, 1}},
		{"answer in pieces of a few bytes", ample, through(downstream("slicer", `{"average_size":3,"size_variation":2,"delay":10}`)), want{succeeded, 1}, want{succeeded, 1}},
		{"slow close", short, through(downstream("slow_close", `{"delay":8000}`)), want{succeeded, 1}, want{succeeded, 1}},
	}
}

func tlsFaults() []fault {
	return []fault{
		{"TLS: closed in the handshake", ample, throughTLS(sameCA, cutAt("downstream", 10)), want{broken, 0}, want{notDone + broken, 0}},
		{"TLS: reset in the handshake", ample, throughTLS(sameCA, cutAt("downstream", 10), reset("downstream")), want{broken, 0}, want{notDone + broken, 0}},
		{"TLS: handshake without an end", short, throughTLS(sameCA, downstream("timeout", `{"timeout":0}`)), want{timedOut, 0}, want{notDone + timedOut, 0}},
		{"TLS: the server speaks something else", ample, noTLS, want{"tls.RecordHeaderError", 0}, want{notDone + "tls.RecordHeaderError", 0}},
		{"TLS: certificate of an unknown authority", ample, throughTLS(otherCA), want{"tls.CertificateVerificationError", 0}, want{notDone + "tls.CertificateVerificationError", 0}},
		{"TLS: certificate for another name", ample, throughTLS(otherName), want{"tls.CertificateVerificationError", 0}, want{notDone + "tls.CertificateVerificationError", 0}},
		{"TLS: certificate expired", ample, throughTLS(expired), want{"tls.CertificateVerificationError", 0}, want{notDone + "tls.CertificateVerificationError", 0}},
	}
}

func refused(t *testing.T) *stage {
	t.Helper()
	l := listen(t)
	_ = l.Close()
	return new(stage).lead(newFake(t, nil), to(l.Addr().String()))
}

// silence acts on the request, and sends nothing until the client closes the connection.
func silence(s *script, w io.Writer, r *http.Request, _ int) bool {
	s.body(r.Method)
	if conn, ok := w.(net.Conn); ok {
		_, _ = io.Copy(io.Discard, conn)
	}
	return false
}

func slowDial(t *testing.T) *stage {
	t.Helper()
	return new(stage).lead(newFake(t, nil), func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	})
}

// noName is a stage in which the client looks up a name and cannot reach a DNS server.
func noName(t *testing.T) *stage {
	t.Helper()
	s := newFake(t, nil)
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no DNS server in this test")
	}}
	st := new(stage).lead(s, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Resolver: resolver}).DialContext(ctx, "tcp", "esper.invalid:80")
	})
	st.base = "http://esper.invalid/api"
	return st
}

// certificate makes a self-signed certificate, and a pool that holds it.
func certificate(t *testing.T, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP("10.77.0.1")},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// identity returns the certificate that the server shows, and the authorities that the client trusts.
type identity func(t *testing.T, name string) (shown tls.Certificate, trusted *x509.CertPool)

const host = "esper.test"

func sameCA(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	return certificate(t, name, time.Now().Add(24*time.Hour))
}

func otherCA(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	shown, _ := sameCA(t, name)
	_, trusted := sameCA(t, name)
	return shown, trusted
}

func otherName(t *testing.T, _ string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	return sameCA(t, "other.test")
}

func expired(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	return certificate(t, name, time.Now().Add(-time.Hour))
}

// throughTLS is a stage with TLS and with toxics between client and server. The server shows the
// certificate of id. After the fault it shows a certificate that the client trusts.
func throughTLS(id identity, toxics ...toxic) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		st := new(stage)
		bad, pool := id(t, host)
		good, _ := sameCA(t, host)
		pool.AddCert(good.Leaf)
		config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if st.sound.Load() {
				return &good, nil
			}
			return &bad, nil
		}}
		s := newFake(t, func(l net.Listener) net.Listener { return tls.NewListener(l, config) })
		address, stop := proxyTo(t, s.Address(), toxics...)
		t.Cleanup(stop)
		st.lead(s, to(address))
		st.base = "https://" + host + "/api"
		st.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		return st
	}
}

// noTLS is a stage whose server speaks first and without TLS, as a mail server does.
func noTLS(t *testing.T) *stage {
	t.Helper()
	st := throughTLS(sameCA)(t)
	l := listen(t)
	each(t, l, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 ready\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client closes the connection
	})
	st.dial = to(l.Addr().String())
	return st
}
