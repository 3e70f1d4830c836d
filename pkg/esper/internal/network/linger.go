package network

import (
	"context"
	"net"
	"net/http"
)

// dropUnsent makes the connections that t dials forget, when they are closed, what they have not sent yet. Without it,
// a kernel goes on sending a request for minutes after the process has given the request up, or was killed: if the
// network breaks and comes back, a renewal arrives whose answer nobody hears.
//
// It covers the connection to a proxy, below the TLS to the server. It covers neither what a proxy goes on sending, nor
// a connection of the caller's dialer that hides its *net.TCPConn.
func dropUnsent(t *http.Transport) {
	dial := t.DialContext
	if old := t.Dial; dial == nil && old != nil { //nolint:staticcheck // deprecated, and in use
		dial = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
	}
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = lingering(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = lingering(t.DialTLSContext)
	}
}

// lingering sets SO_LINGER to 0 on the connections of dial. Such a connection ends with RST. Nothing that was received
// is lost by that, because Single closes a connection only after the whole answer or after an error.
func lingering(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		for inner := conn; err == nil; {
			switch c := inner.(type) {
			case interface{ SetLinger(sec int) error }:
				_ = c.SetLinger(0) // fails only if the connection is closed already
				return conn, nil
			case interface{ NetConn() net.Conn }: // a *tls.Conn
				inner = c.NetConn()
			default:
				return conn, nil
			}
		}
		return conn, err
	}
}
