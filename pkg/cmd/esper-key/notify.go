package main

import (
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// notifier tells systemd the state of the service, if systemd started it.
type notifier struct {
	log      *logQueue
	socket   string        // empty if systemd did not start this process
	watchdog time.Duration // 0 if there is none

	mu   sync.Mutex
	conn *net.UnixConn // kept, so that systemd hears of this process even when it has no descriptors left
}

func newNotifier(log *logQueue) *notifier {
	n := &notifier{log: log, socket: os.Getenv("NOTIFY_SOCKET")}
	if d, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.watchdog = d
	}
	return n
}

// interval is the time from one message that the process is alive to the next.
func (n *notifier) interval() time.Duration {
	if n.watchdog > 0 {
		return max(n.watchdog/2, time.Millisecond)
	}
	return time.Minute
}

// status tells systemd the state of the key, after words such as daemon.SdNotifyReady.
func (n *notifier) status(source *renew.Source, words string) {
	s := source.Status()
	text := trouble(s)
	if text == "" {
		text = "the key " + ends(s.ExpiresAt)
	}
	n.send(words + "\nSTATUS=" + text)
}

// send waits for a second at most: if systemd hangs, the command has to go on.
func (n *notifier) send(state string) {
	if n.socket == "" {
		return
	}
	const patience = time.Second
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for range 2 { // systemd may have made the socket anew
		if n.conn == nil {
			if n.conn, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"}); err != nil {
				continue
			}
		}
		_ = n.conn.SetWriteDeadline(time.Now().Add(patience)) // fails only if the connection is closed
		if _, err = n.conn.Write([]byte(state)); err == nil {
			return
		}
		_ = n.conn.Close()
		n.conn = nil
	}
	n.log.Warn("systemd could not be told", slog.Any("error", err))
}
