// Package network makes the connections of a client, and explains their errors.
package network

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// idleConns is how many connections are kept for the next call. Concurrent callers use more connections
	// than there are callers, because net/http also dials while it waits for one to come free.
	idleConns = 256
	// maxHeader bounds the header of an answer, which net/http may quote in an error.
	maxHeader = 64 << 10
	// An HTTP/2 connection on which nothing arrives for pingAfter gets a ping, and is closed if the server does
	// not answer the ping within pingTimeout.
	pingAfter, pingTimeout = 15 * time.Second, 10 * time.Second
)

// newTransport differs from http.DefaultTransport in its pool. DefaultTransport keeps two idle connections
// for a host; with those, every third of many concurrent callers dials anew for each call.
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

// Pooled clones t, or this package's own transport if t is nil. The clone limits the header of an answer, and its Proxy
// function sees no key.
func Pooled(t *http.Transport) *http.Transport {
	own := t == nil
	if own {
		t = newTransport()
	}
	pooled := t.Clone()
	pooled.DisableCompression = true // package body decompresses, within its limits, whatever Content-Encoding says
	if pooled.MaxResponseHeaderBytes <= 0 || pooled.MaxResponseHeaderBytes > maxHeader {
		pooled.MaxResponseHeaderBytes = maxHeader
	}
	pings := http.HTTP2Config{}
	if pooled.HTTP2 != nil {
		pings = *pooled.HTTP2
	}
	pings.SendPingTimeout = cmp.Or(pings.SendPingTimeout, pingAfter)
	pings.PingTimeout = cmp.Or(pings.PingTimeout, pingTimeout)
	pooled.HTTP2 = &pings
	if choose := pooled.Proxy; choose != nil {
		pooled.Proxy = func(req *http.Request) (*url.URL, error) { return chooseProxy(choose, own, req) }
	}
	pooled.DialContext = namedDial(pooled.DialContext)
	pooled.DialTLSContext = namedDial(pooled.DialTLSContext)
	answered := pooled.OnProxyConnectResponse
	pooled.OnProxyConnectResponse = func(ctx context.Context, proxy *url.URL, r *http.Request, resp *http.Response) error {
		if err := connectRefused(proxy, resp.StatusCode); err != nil || answered == nil {
			return err
		}
		return answered(ctx, proxy, r, resp)
	}
	return pooled
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// namedDial wraps an error of the caller's dialer in a net.OpError, so that Kind recognises it. An error of a
// dialer cannot quote an answer.
func namedDial(dial dialFunc) dialFunc {
	if dial == nil {
		return nil
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		if _, _, known := Kind(err); known == nil {
			err = &net.OpError{Op: "dial", Net: network, Err: err}
		}
		return nil, err
	}
}

// chooseProxy calls a Proxy function. Only net/http's own function gets the request itself; a caller's function
// gets one without secrets.
func chooseProxy(choose func(*http.Request) (*url.URL, error), own bool, req *http.Request) (*url.URL, error) {
	if !own {
		shown := &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}
		req = (&http.Request{Method: req.Method, URL: shown, Host: req.Host, Header: http.Header{}}).WithContext(req.Context())
	}
	proxy, err := choose(req)
	switch {
	case err != nil && req.Context().Err() != nil:
		return nil, err
	case err != nil: // its text may hold the proxy's password
		return nil, &proxyError{fmt.Sprintf("the transport's Proxy function failed (%T); check HTTP_PROXY and HTTPS_PROXY, in which "+
			"special characters of a password are percent-encoded, or the function", err), true}
	case proxy == nil:
		return nil, nil //nolint:nilnil // no proxy
	case proxy.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme):
		return nil, &proxyError{"the proxy's URL has no host, or none of the schemes http, https, socks5 and socks5h; " +
			"check HTTP_PROXY and HTTPS_PROXY, in which special characters of a password are percent-encoded", true}
	}
	return proxy, nil
}

// connectRefused returns the error for a proxy's answer to CONNECT, or nil if the proxy has connected.
func connectRefused(proxy *url.URL, status int) error {
	advice := ""
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		advice = "; it wants a user name and a password: write them into HTTPS_PROXY, or into the transport's Proxy"
	case http.StatusForbidden:
		advice = "; it does not allow this host"
	}
	text := fmt.Sprintf("the proxy %s answered CONNECT with %d %s%s", proxy.Host, status, http.StatusText(status), advice)
	return &proxyError{text, advice != ""}
}

// Single clones what Pooled returned into a transport that dials for each request and speaks HTTP/1.1. On a
// used connection, a request can fail because the server has just closed the connection; that looks as if the
// answer had been lost. HTTP/2 sends a request again by itself when the server refuses a stream. With Single,
// neither can happen. A request that ends early is not sent any further: see dropUnsent.
func Single(pooled *http.Transport) *http.Transport {
	single := pooled.Clone()
	single.DisableKeepAlives = true
	if old := single.DialTLS; old != nil && single.DialTLSContext == nil { //nolint:staticcheck // deprecated, and in use
		single.DialTLSContext = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
	}
	if dial := single.DialTLSContext; dial != nil {
		single.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return http1Only(ctx, conn)
		}
	}
	single.ForceAttemptHTTP2 = false
	single.Protocols = new(http.Protocols)
	single.Protocols.SetHTTP1(true)
	single.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if single.TLSClientConfig != nil {
		protos := slices.Clone(single.TLSClientConfig.NextProtos) // Clone shares the slice
		single.TLSClientConfig.NextProtos = slices.DeleteFunc(protos, func(p string) bool { return p == "h2" })
	}
	dropUnsent(single)
	return single
}

// ErrHTTP2 says that the caller's TLS dialer returned a connection that speaks HTTP/2.
var ErrHTTP2 = errors.New("DialTLSContext negotiated HTTP/2; a renewal needs HTTP/1.1, " +
	"so offer only that or leave DialTLSContext unset")

// http1Only closes and refuses a connection of the caller's TLS dialer that speaks HTTP/2, because Single writes
// HTTP/1.1.
func http1Only(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if unshaken, ok := conn.(interface{ HandshakeContext(context.Context) error }); ok {
		if err := unshaken.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	if t, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		_ = conn.Close()
		return nil, ErrHTTP2
	}
	return conn, nil
}
