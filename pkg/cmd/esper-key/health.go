package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// What a client of --listen may take, who may be anybody that reaches the port. One that is slow loses its connection,
// and others wait that long.
const (
	mostConnections = 32
	mostHeader      = 4 << 10
	slowest         = 5 * time.Second
)

// address reads the value of --listen.
func (f *runFlags) address(value string) error {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return errors.New("it has to be an address with a port, such as :9464 or 127.0.0.1:9464")
	}
	f.listen = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)
	return nil
}

// serve starts the server for metrics and health, which ends with the process. Without an address it starts none.
func (k *keeper) serve(address string) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // it does not wait
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler: k.handler(), ReadTimeout: slowest, WriteTimeout: 2 * slowest, IdleTimeout: slowest, MaxHeaderBytes: mostHeader,
		ErrorLog: slog.NewLogLogger(k.log.Handler(), slog.LevelWarn),
	}
	go func() { _ = server.Serve(netutil.LimitListener(listener, mostConnections)) }()
	k.log.Info("metrics and health are served", slog.String("address", listener.Addr().String()))
	return nil
}

// handler answers /metrics, /healthz and /readyz.
func (k *keeper) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(k.registry, promhttp.HandlerOpts{}))
	for path, trouble := range map[string]func() string{"/healthz": k.stuck, "/readyz": k.unusable} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			if text := trouble(); text != "" {
				http.Error(w, text, http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "ok\n")
		})
	}
	return mux
}

// makeMetrics makes what /metrics shows.
func (k *keeper) makeMetrics() {
	k.renewals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "esper_key_renewals_total",
		Help: "New keys that came into use, renewed or adopted by this process or another one, and failures of this process.",
	}, []string{"result"})
	for _, result := range []string{"renewed", "adopted", "failed"} {
		k.renewals.WithLabelValues(result)
	}
	k.registry = prometheus.NewRegistry()
	k.registry.MustRegister(k.renewals, k)
}

// Describe does nothing: one of the metrics that Collect tells may be missing.
func (k *keeper) Describe(chan<- *prometheus.Desc) {}

// Collect tells the metrics that show what is so now.
func (k *keeper) Collect(all chan<- prometheus.Metric) {
	s := k.source.Status()
	metric := func(kind prometheus.ValueType, labels prometheus.Labels, name, help string, value float64) {
		all <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, labels), kind, value)
	}
	gauge := func(name, help string, value float64) { metric(prometheus.GaugeValue, nil, name, help, value) }
	gauge("esper_key_seconds_to_end", "Seconds until the key in use ends; negative after its end.", time.Until(s.ExpiresAt).Seconds())
	gauge("esper_key_age_seconds", "Seconds since the key in use was made.", time.Since(s.IssuedAt).Seconds())
	gauge("esper_key_lost", "1 if the server refuses the key and the store has no other: a person has to adopt one.", number(s.Lost))
	gauge("esper_key_saved", "1 if the store holds the key in use; if 0, the key is lost when the process ends.", number(s.Saved))
	gauge("esper_key_failing", "1 if the last renewal, save, read or check failed; the log says why.", number(s.LastError != nil))
	if !s.AcceptedAt.IsZero() {
		gauge("esper_key_last_success_timestamp_seconds",
			"When the server last told this process that it accepts the key, or made a new one; missing before that. The process asks once a day.", float64(s.AcceptedAt.Unix()))
	}
	gauge("esper_key_delivered", "0 if the file of --write-token does not hold the key in use, or the program of --on-renew has not succeeded for it.", number(!k.undelivered.Load()))
	metric(prometheus.GaugeValue, prometheus.Labels{"version": version(), "goversion": runtime.Version()},
		"esper_key_build_info", "Always 1; the labels have the versions of esper-key and of Go.", 1)
	metric(prometheus.CounterValue, nil, "esper_key_log_records_dropped_total", "Records of the log that were dropped, because nobody read it.", float64(k.log.dropped.Load()))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

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
