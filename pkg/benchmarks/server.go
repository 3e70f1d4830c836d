package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	key            = "example-key-for-benchmarks"
	enterpriseID   = "f44373cb-1800-43c6-aab3-c81f8b1f435c"
	developerAppID = "5fa87c46-bef7-4c1f-9ca8-ebf022d118b6"

	// The answers have the form of those of the real server.
	info = `{"id":"570","enterprise":"` + enterpriseID + `","user":"bindya",` +
		`"developer_app":"` + developerAppID + `","source_refresh_token":null,"token":"` + key + `",` +
		`"expires_on":"2099-11-19T15:42:16.637203Z","scope":["read","write","update","introspection","sdk","register"],` +
		`"created_on":"2099-08-18T15:42:16.637203Z","updated_on":"2099-08-18T15:42:16.637203Z"}`
	renewal = `{"id":571,"user":"bindya","enterprise":"Esper [` + enterpriseID + `]",` +
		`"developerapp":"DeveloperApp object (` + developerAppID + `)","token":"example-new-key-for-benchmarks",` +
		`"expires_at":"2099-07-03T04:29:53.906020Z","scope":"read write update introspection sdk register",` +
		`"created_on":"2099-04-04T04:29:53.906020Z","updated_on":"2099-04-04T04:29:53.906020Z"}`
	denied = `{"errors":["Authentication credentials were not provided."],` +
		`"message":"Authorization information is missing or invalid.","status":401}`

	good, refused = "/api", "/denied/api" // the paths of base URLs
	serverCommand = "server"              // the argument with which a program is the server
)

// startServer starts the server in a process of its own, which is this program again. It ends with ctx, or with stop.
func startServer(ctx context.Context) (base string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	child := exec.CommandContext(ctx, self, serverCommand) //nolint:gosec // this program
	child.Stderr, child.WaitDelay = os.Stderr, 5*time.Second
	in, inErr := child.StdinPipe()
	out, outErr := child.StdoutPipe()
	if err := errors.Join(inErr, outErr, child.Start()); err != nil {
		return "", nil, err
	}
	_, err = fmt.Fscanln(out, &base)
	return base, func() { _ = in.Close(); _ = child.Wait() }, err
}

// serve is the main function of the server. It prints the server's URL, and returns when standard input ends.
func serve() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, req *http.Request) {
			status, body := http.StatusOK, info
			switch {
			case strings.HasPrefix(req.URL.Path, refused):
				status, body = http.StatusUnauthorized, denied
			case req.Method == http.MethodPost:
				status, body = http.StatusCreated, renewal
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})}
	go func() { _ = server.Serve(listener) }()
	fmt.Fprintln(os.Stdout, "http://"+listener.Addr().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return server.Close()
}
