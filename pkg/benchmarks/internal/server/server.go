// Package server is the one server that all clients are measured against: plain net/http in a
// process of its own, which answers with fixed bytes.
package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/child"
)

// Command is the argument that makes the program the server.
const Command = "server"

// What a client meets is chosen by the base URL that it gets.
const (
	OK       = "/ok/api"     // 200 to TokenInfo, 201 to RenewToken
	Refused  = "/denied/api" // 401 with the documented envelope
	Huge     = "/huge/api"   // 200 with 1 GiB of JSON
	HugeGzip = "/gzip/api"   // the same, compressed
	Rotating = "/rotate/api" // a key that ends in 90 days, and new ones
)

// longest bounds the server's life, whatever happens to the harness.
const longest = time.Hour

// Server is the running process.
type Server struct {
	URL   string
	child *child.Child
}

// Start starts the server: this program again, with Command as its argument.
func Start(ctx context.Context) (*Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c, err := child.Start(ctx, self, Command)
	if err != nil {
		return nil, err
	}
	url, err := c.Ask("url")
	return &Server{url, c}, err
}

// Close ends the server.
func (s *Server) Close() error { return s.child.Close() }

// Run is the server's side. It ends with its standard input.
func Run() error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	time.AfterFunc(longest, func() { _ = listener.Close(); _ = os.Stdin.Close() })
	var posts atomic.Int64
	srv := &http.Server{
		Handler:           handler(&posts),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	defer srv.Close()
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	return child.Serve(func() (string, error) {
		select {
		case err := <-failed:
			return "", err
		default:
		}
		return "http://" + listener.Addr().String(), nil
	})
}

func handler(posts *atomic.Int64) http.Handler {
	info, renewal, denied := []byte(answers.Info), []byte(answers.Renewal), []byte(answers.Denied)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		post := req.Method == http.MethodPost
		if post {
			posts.Add(1)
		}
		switch path := req.URL.Path; {
		case strings.HasPrefix(path, OK) && post:
			answer(w, http.StatusCreated, renewal)
		case strings.HasPrefix(path, OK):
			answer(w, http.StatusOK, info)
		case strings.HasPrefix(path, Refused):
			answer(w, http.StatusUnauthorized, denied)
		case strings.HasPrefix(path, Huge):
			huge(w)
		case strings.HasPrefix(path, HugeGzip):
			hugeGzip(w)
		case strings.HasPrefix(path, Rotating) && post:
			answer(w, http.StatusCreated, []byte(newKey(fmt.Sprintf("example-renewed-%d", posts.Load()), time.Now())))
		case strings.HasPrefix(path, Rotating):
			key := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
			answer(w, http.StatusOK, []byte(keyInfo(key, time.Now())))
		default:
			answer(w, http.StatusNotFound, denied)
		}
	})
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
