// Package origin makes sure that a key goes only to its own server. It normalizes base URLs, and compares the target of
// a request with the base URL before the key is added.
package origin

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ErrOther says that a request is for another server than that of the base URL.
var ErrOther = errors.New("the request is for another server than the base URL's; the key is not sent there")

// Check returns ErrOther unless req goes to the server of base, which is from Parse. It compares all that decides where
// net/http sends a request and what it says there: scheme, host and port of the URL, the Host field, and an opaque URL,
// which would replace the request's target.
func Check(base *url.URL, req *http.Request) error {
	same := func(h string) bool { return h == base.Host || host(base.Scheme, h) == base.Host }
	u := req.URL
	if u == nil || u.Opaque != "" || u.Scheme != base.Scheme || !same(u.Host) || req.Host != "" && !same(req.Host) {
		return ErrOther
	}
	return nil
}

// host writes a host, with or without a port, in the one form that names this server: lower case, no trailing dot, no
// default port. A malformed host stays as it is.
func host(scheme, h string) string {
	u := url.URL{Host: strings.ToLower(h)}
	name, port := strings.TrimSuffix(u.Hostname(), "."), strings.TrimLeft(u.Port(), "0")
	switch {
	case name == "" || strings.HasSuffix(h, ":") || port == "" && u.Port() != "":
		return h
	case port != "" && scheme+port != "https443" && scheme+port != "http80":
		return net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}
