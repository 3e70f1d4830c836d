package network

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
	"testing"
	"time"
)

// A connection of Single ends with RST when its request is given up, on each way to a server. A kernel sends RST instead
// of FIN if SO_LINGER is 0, and then it has forgotten what it had still to send.
func TestSingleDropsUnsent(t *testing.T) {
	dial := new(net.Dialer).DialContext
	trusting := &tls.Config{InsecureSkipVerify: true}
	for name, way := range map[string]struct {
		scheme    string
		connect   bool // the peer is a proxy that gets CONNECT first
		transport *http.Transport
	}{
		"plain":           {"http", false, &http.Transport{}},
		"own transport":   {"http", false, newTransport()},
		"TLS":             {"https", false, &http.Transport{TLSClientConfig: trusting}},
		"TLS and CONNECT": {"https", true, &http.Transport{TLSClientConfig: trusting}},
		"DialContext":     {"http", false, &http.Transport{DialContext: dial}},
		"Dial":            {"http", false, &http.Transport{Dial: net.Dial}}, //nolint:staticcheck // deprecated, and in use
		"DialTLSContext":  {"https", false, &http.Transport{DialTLSContext: (&tls.Dialer{Config: trusting}).DialContext}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			way.transport.Proxy = nil
			if way.connect {
				way.transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})
			}
			single := Single(Pooled(way.transport))
			ctx, giveUp := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- hearEnd(l, way.connect, way.scheme == "https", giveUp) }()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, way.scheme+"://"+l.Addr().String(), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := single.RoundTrip(req); !errors.Is(err, context.Canceled) {
				if err == nil {
					_ = resp.Body.Close()
				}
				t.Errorf("the request ended with %v, want context.Canceled", err)
			}
			if err := <-ended; errors.Is(err, io.EOF) {
				t.Error("the connection ended with FIN, want RST")
			} else if opErr := (*net.OpError)(nil); !errors.As(err, &opErr) || opErr.Op != "read" {
				t.Error(err)
			}
		})
	}
}

// hearEnd accepts one connection, hears a request, calls heard, and returns the error with which the connection ends.
func hearEnd(l net.Listener, connect, encrypted bool, heard func()) error {
	raw, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }()
	if connect {
		if _, err := http.ReadRequest(bufio.NewReader(raw)); err != nil {
			return err
		}
		if _, err := io.WriteString(raw, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			return err
		}
	}
	conn := raw
	if encrypted {
		certificate, err := selfSigned()
		if err != nil {
			return err
		}
		// Without session tickets: a client that has not read one would end its connection with RST anyway.
		conn = tls.Server(raw, &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		})
	}
	if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
		return err
	}
	heard()
	for buffer := make([]byte, 1<<10); ; {
		if _, err := raw.Read(buffer); err != nil {
			return err
		}
	}
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
