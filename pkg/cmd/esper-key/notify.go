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
	log      *slog.Logger
	socket   string        // empty if systemd did not start this process
	watchdog time.Duration // 0 if there is none
}

func newNotifier(log *slog.Logger) *notifier {
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

func (n *notifier) ready(source *renew.Source) {
	n.send(daemon.SdNotifyReady + "\nSTATUS=" + statusText(source))
}

func (n *notifier) status(source *renew.Source) { n.send("STATUS=" + statusText(source)) }

func (n *notifier) alive(source *renew.Source) {
	n.send(daemon.SdNotifyWatchdog + "\nSTATUS=" + statusText(source))
}

func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping + "\nSTATUS=finishing what has begun") }

// send does what daemon.SdNotify does, but waits for a second at most: if systemd hangs, the command must go on.
func (n *notifier) send(state string) {
	if n.socket == "" {
		return
	}
	const patience = time.Second
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(patience)) // fails only if the connection is closed
		_, err = conn.Write([]byte(state))
		_ = conn.Close()
	}
	if err != nil {
		n.log.Warn("systemd could not be told", slog.Any("error", err))
	}
}

func statusText(source *renew.Source) string {
	s := source.Status()
	if text := trouble(s); text != "" {
		return text
	}
	return "the key " + ends(s.ExpiresAt)
}
