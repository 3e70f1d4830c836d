//go:build linux

package stores

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// wire relays connections to an engine, and keeps what is sent, as somebody on the way could.
type wire struct {
	net.Listener
	mu   sync.Mutex
	seen bytes.Buffer
}

// wireTo returns a wire to a server. With without, which begins each connection, it behaves like a server that does not
// offer TLS.
func wireTo(t *testing.T, address string, without func(client, server net.Conn) error) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &wire{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				to, err := net.Dial("tcp", address)
				if err == nil && without != nil {
					err = without(from, to)
				}
				if err != nil {
					_ = from.Close()
					return
				}
				go w.copy(to, from)
				w.copy(from, to)
			}()
		}
	}()
	return w
}

func (w *wire) copy(to, from net.Conn) {
	_, _ = io.Copy(io.MultiWriter(to, w), from)
	_ = to.Close()
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.Write(p)
}

// sent returns what was sent so far, in both directions.
func (w *wire) sent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.String()
}

// withoutTLS has, for each engine, what begins a connection to a server that does not offer TLS.
func withoutTLS(e *engine) func(client, server net.Conn) error {
	if e.kind == "pgx" { // the client asks for TLS first; N is no
		return func(client, server net.Conn) error {
			question := make([]byte, 8)
			if _, err := io.ReadFull(client, question); err != nil {
				return err
			}
			if !bytes.Equal(question, []byte{0, 0, 0, 8, 4, 210, 22, 47}) {
				_, err := server.Write(question)
				return err
			}
			_, err := client.Write([]byte("N"))
			return err
		}
	}
	return func(client, server net.Conn) error { // the server's greeting says what it can do
		header := make([]byte, 4)
		if _, err := io.ReadFull(server, header); err != nil {
			return err
		}
		greeting := make([]byte, int(header[0])|int(header[1])<<8)
		if _, err := io.ReadFull(server, greeting); err != nil {
			return err
		}
		// a protocol number, the version, a NUL, and 13 bytes stand before the flags, of which 0x0800 is TLS
		greeting[1+bytes.IndexByte(greeting[1:], 0)+1+13+1] &^= 0x08
		_, err := client.Write(slices.Concat(header, greeting))
		return err
	}
}

// authority signs the certificate of all engines. Nobody trusts it who was not told to.
var authority = sync.OnceValues(func() (files map[string][]byte, err error) {
	const day = 24 * time.Hour
	sign := func(c, by *x509.Certificate, key, parent *rsa.PrivateKey) []byte {
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-day), time.Now().Add(day)
		der, signErr := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, parent)
		if signErr != nil {
			err = signErr
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	keys := make([]*rsa.PrivateKey, 3)
	for i := range keys {
		if keys[i], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, err
		}
	}
	root := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	ca, stranger := root("the company"), root("a stranger")
	server := &x509.Certificate{
		Subject: pkix.Name{CommonName: "database"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4zero},
	}
	key, err := x509.MarshalPKCS8PrivateKey(keys[1])
	files = map[string][]byte{
		"ca.pem": sign(ca, ca, keys[0], keys[0]), "server.pem": sign(server, ca, keys[1], keys[0]), "stranger.pem": sign(stranger, stranger, keys[2], keys[2]),
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), "not.pem": []byte("no certificate\n"),
	}
	return files, err
})

// certificates writes the files of authority into a folder, for a service.
func certificates(t testing.TB, folder string) {
	t.Helper()
	files, err := authority()
	must(t, err)
	for name, data := range files {
		file := filepath.Join(folder, name)
		must(t, os.WriteFile(file, data, 0o600))
		give(t, file)
	}
}
