package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// What a client of --listen may take, who may be anybody that reaches the port. One that is slow loses its connection,
// and others wait that long.
const (
	mostConnections = 32
	mostHeader      = 4 << 10
	slowest         = 5 * time.Second
)

// serve starts the server for metrics and health, and returns the function that stops it. Without an address it starts
// none.
func (k *keeper) serve(address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usage("--listen has to be an address with a port, such as :9464 or 127.0.0.1:9464")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port)) //nolint:noctx // it does not wait
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler: k.handler(), ReadTimeout: slowest, WriteTimeout: 2 * slowest, IdleTimeout: slowest, MaxHeaderBytes: mostHeader,
		ErrorLog: slog.NewLogLogger(k.log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(netutil.LimitListener(listener, mostConnections)) // Shutdown ends it
	}()
	k.log.Info("metrics and health are served", slog.String("address", listener.Addr().String()))
	return func() {
		const mercy = 2 * time.Second
		ctx, cancel := context.WithTimeout(context.Background(), mercy)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
	}, nil
}

// handler answers /metrics, /healthz and /readyz.
func (k *keeper) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(k.metrics.registry, promhttp.HandlerOpts{}))
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
