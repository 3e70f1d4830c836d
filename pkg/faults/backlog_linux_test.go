package faults

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"
)

// fullBacklog is a stage whose server accepts no connection and has a full queue, so that Linux drops
// further attempts to connect.
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
	t.Fatal("the queue of the listener did not fill up")
	return nil
}
