package main

import (
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// notifier tells systemd the state of the service, if systemd started it.
type notifier struct {
	log      *logQueue
	systemd  *net.UnixAddr
	conn     *net.UnixConn // nil if systemd did not start this process; open, so that it works when descriptors run out
	interval time.Duration // from one message that the process is alive to the next
}

func newNotifier(log *logQueue) *notifier {
	n := &notifier{log: log, systemd: &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"}, interval: time.Minute}
	if d, err := daemon.SdWatchdogEnabled(false); err == nil && d > 0 {
		n.interval = max(d/2, time.Millisecond)
	}
	if n.systemd.Name != "" {
		var err error
		if n.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"}); err != nil {
			log.Warn("systemd cannot be told", slog.Any("error", err))
		}
	}
	return n
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
	if n.conn == nil {
		return
	}
	const patience = time.Second
	_ = n.conn.SetWriteDeadline(time.Now().Add(patience)) // fails only if the connection is closed
	if _, err := n.conn.WriteToUnix([]byte(state), n.systemd); err != nil {
		n.log.Warn("systemd could not be told", slog.Any("error", err))
	}
}
