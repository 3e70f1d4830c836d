// Package server is the server that all clients are measured against. It uses net/http, runs in a
// process of its own, and mostly answers with fixed bytes.
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

// Command is the argument with which a program runs as the server.
const Command = "server"

// The paths of base URLs. The path decides how the server answers.
const (
	OK       = "/ok/api"     // 200 to TokenInfo, 201 to RenewToken
	Refused  = "/denied/api" // 401 with the documented JSON
	Huge     = "/huge/api"   // 200 with 1 GiB of JSON
	HugeGzip = "/gzip/api"   // the same, compressed
	Rotating = "/rotate/api" // any key is valid for 90 days from now; a renewal makes a new key
)

// longest is how long the server runs at most, even if the benchmarks do not end it.
const longest = time.Hour

// Server is the server process.
type Server struct {
	URL   string
	child *child.Child
}

// Start starts the server: another process of this program, with Command as its argument.
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

// Run runs the server in its process. It returns when standard input ends.
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
