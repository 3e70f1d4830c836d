package network

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
)

// Single clones what Pooled returned into a transport for requests that must not arrive twice. It dials for each
// request, because on a used connection a request can fail when the server has just closed the connection, and that
// looks as if the answer had been lost. It speaks HTTP/1.1, because HTTP/2 sends a request again by itself when the
// server refuses a stream. And a request that ends early is not sent any further: see dropUnsent.
func Single(pooled *http.Transport) *http.Transport {
	single := pooled.Clone()
	single.DisableKeepAlives = true
	single.Protocols = new(http.Protocols)
	single.Protocols.SetHTTP1(true)
	single.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if single.TLSClientConfig != nil {
		protos := slices.Clone(single.TLSClientConfig.NextProtos) // Clone shares the slice
		single.TLSClientConfig.NextProtos = slices.DeleteFunc(protos, func(p string) bool { return p == "h2" })
	}
	if single.DialContext == nil {
		single.DialContext = new(net.Dialer).DialContext
	}
	single.DialContext = singleDial(single.DialContext)
	if single.DialTLSContext != nil {
		single.DialTLSContext = singleDial(single.DialTLSContext)
	}
	return single
}

// singleDial makes the connections of dial fit for Single.
func singleDial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if err := refuseHTTP2(ctx, conn); err != nil {
			_ = conn.Close()
			return nil, err
		}
		dropUnsent(conn)
		return conn, nil
	}
}

// ErrHTTP2 says that the caller's TLS dialer returned a connection that speaks HTTP/2.
var ErrHTTP2 = errors.New("DialTLSContext negotiated HTTP/2; a renewal needs HTTP/1.1, " +
	"so offer only that or leave DialTLSContext unset")

// refuseHTTP2 finishes the handshake of a connection of the caller's TLS dialer, and returns an error if it speaks
// HTTP/2.
func refuseHTTP2(ctx context.Context, conn net.Conn) error {
	if unshaken, ok := conn.(interface{ HandshakeContext(context.Context) error }); ok {
		if err := unshaken.HandshakeContext(ctx); err != nil {
			return err
		}
	}
	secure, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
		return ErrHTTP2
	}
	return nil
}

// dropUnsent sets SO_LINGER to 0, so that a connection ends with RST and its kernel forgets what it has not sent yet.
// Otherwise the kernel goes on for minutes after the process has given a request up, or was killed: if the network
// breaks and comes back, a renewal arrives whose answer nobody hears. Nothing that was received is lost, because Single
// closes a connection only after the whole answer or after an error.
//
// The connection may be that to a proxy, below the TLS to the server. What a proxy goes on sending is not covered, nor
// a connection of the caller's dialer that hides its *net.TCPConn.
func dropUnsent(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case interface{ SetLinger(sec int) error }:
			_ = c.SetLinger(0) // fails only if the connection is closed already
			return
		case interface{ NetConn() net.Conn }: // a *tls.Conn
			conn = c.NetConn()
		default:
			return
		}
	}
}
