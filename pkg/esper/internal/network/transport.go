// Package network makes the connections of a client, and explains their errors.
package network

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// idleConns is how many connections are kept for the next call. Concurrent callers use more connections than there are
	// callers, because net/http also dials while it waits for one to come free.
	idleConns = 256
	// maxHeader bounds the header of an answer, which net/http may quote in an error.
	maxHeader = 64 << 10
	// An HTTP/2 connection on which nothing arrives for pingAfter gets a ping, and is closed if the server does not answer
	// the ping within pingTimeout.
	pingAfter, pingTimeout = 15 * time.Second, 10 * time.Second
)

// Pooled clones t, or this package's own transport if t is nil. The clone limits the header of an answer, and its Proxy
// function sees no key.
func Pooled(t *http.Transport) *http.Transport {
	own := t == nil
	if own { // it differs from http.DefaultTransport, which would let every third of many concurrent callers dial anew
		t = &http.Transport{
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
	pooled.DialContext = namedDial(pooled.DialContext, pooled.Dial)          //nolint:staticcheck // deprecated, and in use
	pooled.DialTLSContext = namedDial(pooled.DialTLSContext, pooled.DialTLS) //nolint:staticcheck // deprecated, and in use
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

// namedDial returns the caller's dialer, of which old is the deprecated form, or nil if there is none. It wraps errors
// of the dialer, which cannot quote an answer, in a net.OpError, so that Kind recognises them.
func namedDial(dial dialFunc, old func(network, addr string) (net.Conn, error)) dialFunc {
	switch {
	case dial == nil && old == nil:
		return nil
	case dial == nil:
		dial = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
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

// chooseProxy calls a Proxy function. Only net/http's own function gets the request itself; a caller's function gets
// one without secrets.
func chooseProxy(choose func(*http.Request) (*url.URL, error), own bool, req *http.Request) (*url.URL, error) {
	if !own {
		shown := &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}
		bare := &http.Request{Method: req.Method, URL: shown, Host: req.Host, Header: http.Header{}}
		req = bare.WithContext(req.Context())
	}
	proxy, err := choose(req)
	switch {
	case err != nil && req.Context().Err() != nil:
		return nil, err
	case err != nil: // its text may hold the proxy's password
		return nil, &proxyError{fmt.Sprintf("the transport's Proxy function failed (%T); check the function, or HTTP_PROXY "+
			"and HTTPS_PROXY, in which special characters of a password are percent-encoded", err), true}
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
	if status == http.StatusOK {
		return nil
	}
	advice := map[int]string{
		http.StatusProxyAuthRequired: "; it wants a user name and a password: write them into HTTPS_PROXY",
		http.StatusForbidden:         "; it does not allow this host",
	}[status]
	text := fmt.Sprintf("the proxy %s answered CONNECT with %d %s%s", proxy.Host, status, http.StatusText(status), advice)
	return &proxyError{text, advice != ""}
}
