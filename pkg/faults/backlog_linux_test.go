package faults

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"
)

// fullBacklog has a server that accepts nothing, and whose queue is full, so that Linux drops what
// else comes.
func fullBacklog(t *testing.T) *stage {
	t.Helper()
	l, ok := listen(t).(*net.TCPListener)
	if !ok {
		t.Fatal("not a TCP listener")
	}
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dial := to(l.Addr().String())
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		conn, err := dial(ctx)
		cancel()
		if err != nil {
			return new(stage).lead(newFake(t, nil), dial)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return nil
}
