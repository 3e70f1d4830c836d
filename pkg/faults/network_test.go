package faults

import (
	"bufio"
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
	"net/url"
	"syscall"
	"time"
)

// refused dials a port at which nothing listens, and which the system gives to nobody who asks for any.
func refused(s *stage) { s.dial = to("127.0.0.1:1") }

// unanswered is a dial to which no answer comes.
func unanswered(s *stage) {
	waiting := &net.Dialer{ControlContext: func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	s.dial = func(ctx context.Context) (net.Conn, error) { return waiting.DialContext(ctx, "tcp", s.address) }
}

// noName is a name that the client looks up, while it cannot reach a DNS server.
func noName(s *stage) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no DNS server in this test")
	}}
	s.dial = func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Resolver: resolver}).DialContext(ctx, "tcp", "esper.invalid:80")
	}
	s.base = "http://esper.invalid/api"
}

// end ends a connection with FIN, or with RST.
func end(conn net.Conn, reset bool) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if reset {
		_ = tcp.SetLinger(0)
	} else if tcp.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, tcp) // a Close sends RST if something is unread
	}
	_ = tcp.Close()
}

// saying sends text on each connection, and nothing more. It reads whatever comes.
func saying(text string) func(s *stage) {
	return func(s *stage) {
		s.meet = func(conn net.Conn) net.Conn {
			_, _ = io.WriteString(conn, text)
			_, _ = io.Copy(io.Discard, conn)
			return nil
		}
	}
}

// inRequest ends each connection when a part of a request has arrived.
func inRequest(reset bool) func(s *stage) {
	return func(s *stage) {
		s.meet = func(conn net.Conn) net.Conn {
			_, _ = io.CopyN(io.Discard, conn, 40)
			end(conn, reset)
			return nil
		}
	}
}

// certificate makes a self-signed certificate.
func certificate(name string, lives time.Duration) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(lives),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP("10.77.0.1")},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// overTLS is a server whose certificate has a name and an end, and is known to the client, or not. After the fault it
// has one that the client trusts.
func overTLS(name string, lives time.Duration, known bool, set func(s *stage)) func(s *stage) {
	return func(s *stage) {
		bad, good, trusted := certificate(name, lives), certificate(host, time.Hour), x509.NewCertPool()
		if trusted.AddCert(good.Leaf); known {
			trusted.AddCert(bad.Leaf)
		}
		s.secure = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if s.sound.Load() {
				return &good, nil
			}
			return &bad, nil
		}}
		s.base = "https://" + host + "/api"
		s.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}
		if set != nil {
			set(s)
		}
	}
}

// secured is a fault of a connection with TLS whose certificates are well.
func secured(set func(s *stage)) func(s *stage) { return overTLS(host, time.Hour, true, set) }

// behindProxy is a server with TLS behind a proxy. The proxy sends answer to CONNECT, and closes the connection.
func behindProxy(answer string, set func(s *stage)) func(s *stage) {
	return secured(func(s *stage) {
		server, proxy := s.address, listen(s.t, "127.0.0.1")
		s.address = proxy.Addr().String()
		each(s.t, proxy, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			if r, err := http.ReadRequest(in); err != nil || r.Method != http.MethodConnect {
				return
			}
			if !s.sound.Load() {
				_, _ = io.WriteString(conn, answer)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			s.tunnel(conn, in, server)
		})
		s.transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
		if set != nil {
			set(s)
		}
	})
}
