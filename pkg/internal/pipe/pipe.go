// Package pipe connects a client and a server in memory, without a network. A goroutine that waits for
// the other end is durably blocked, as testing/synctest requires.
package pipe

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Listener hands out the server's ends of the connections that Dial makes. Make one with Listen; it is
// safe for concurrent use.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener that is open.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for the next connection; after Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. It may be called more than once.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns a fixed address.
func (l *Listener) Addr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }

// Dial returns the client's end of a new connection. It has the form of http.Transport.DialContext;
// network and address do not matter.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Transport returns a transport whose connections all lead to l. Those for https do too, without TLS.
func (l *Listener) Transport() *http.Transport {
	return &http.Transport{DialContext: l.Dial, DialTLSContext: l.Dial}
}
