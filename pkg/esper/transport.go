package esper

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// idleConns is how many connections are kept for the next call. net/http dials while it waits for
// one to come free, so that callers at once need more than their number.
const idleConns = 256

// newTransport differs from http.DefaultTransport in its pool: two idle connections a host, as
// there, make every third of many concurrent callers dial anew for each call.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          idleConns,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// freshTransport clones t into one that dials for each request and speaks HTTP/1.1. A request on a
// used connection can fail because the server closed it meanwhile, which looks like a request that
// was lost on the way back; and HTTP/2 resends a request by itself when the server refuses a
// stream. Neither can happen here.
func freshTransport(t *http.Transport) *http.Transport {
	fresh := t.Clone()
	fresh.DisableKeepAlives = true
	fresh.DisableCompression = true // an answer that only claims to be gzip would be lost; see gunzip
	if dial := fresh.DialTLSContext; dial != nil {
		fresh.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return http1Only(dial(ctx, network, addr))
		}
	}
	fresh.ForceAttemptHTTP2 = false
	fresh.Protocols = new(http.Protocols)
	fresh.Protocols.SetHTTP1(true)
	fresh.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if fresh.TLSClientConfig != nil {
		protos := slices.Clone(fresh.TLSClientConfig.NextProtos) // which Clone above shares with t
		fresh.TLSClientConfig.NextProtos = slices.DeleteFunc(protos, func(p string) bool { return p == "h2" })
	}
	return fresh
}

var errHTTP2 = errors.New("esper: DialTLSContext negotiated HTTP/2; a renewal needs HTTP/1.1, so offer only that or leave DialTLSContext unset")

// http1Only refuses a connection of the caller's own making on which a renewal would be garbage.
func http1Only(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	if t, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		_ = conn.Close()
		return nil, errHTTP2
	}
	return conn, nil
}

// gunzip decompresses what begins as gzip does, and leaves anything else as it was sent: a label
// that is wrong must not cost the key.
type gunzip struct {
	io.Closer
	raw *bufio.Reader
	out io.Reader // nil until the first Read
}

func newGunzip(rc io.ReadCloser) *gunzip { return &gunzip{Closer: rc, raw: bufio.NewReader(rc)} }

func (g *gunzip) Read(p []byte) (int, error) {
	if g.out == nil {
		g.out = g.raw
		if head, _ := g.raw.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(g.raw)
			if err != nil {
				return 0, err
			}
			g.out = z
		}
	}
	return g.out.Read(p)
}
