package esper

import (
	"crypto/tls"
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
