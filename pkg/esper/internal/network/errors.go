package network

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Kind looks into an error of net/http. It returns what the caller can do, whether another attempt would fail in the
// same way, and the part of the error that cannot quote an answer, or nil.
func Kind(err error) (hint string, permanent bool, kind error) {
	var (
		proxy     *proxyError
		cert      *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		op        *net.OpError
		roots     x509.SystemRootsError
	)
	switch {
	case errors.As(err, &proxy):
		return "", proxy.permanent, proxy
	case errors.As(err, &cert) && (errors.As(cert, &roots) || errors.As(cert, &authority) && noRoots()):
		return "this machine has no CA certificates; install them (ca-certificates), or name a file of them in " +
			"SSL_CERT_FILE", true, cert
	case errors.As(err, &cert) && errors.As(cert, &authority):
		return "if a company's proxy or a test server signs with an authority of its own, add that to the system's, " +
			"or to RootCAs in WithTransport's TLSClientConfig", true, cert
	case errors.As(err, &cert) && errors.As(cert, &name):
		return "check the base URL; or something in between answers in the server's place", true, cert
	case errors.As(err, &cert):
		return "check this machine's clock and the server's certificate", true, cert
	case errors.As(err, &record):
		if string(record.RecordHeader[:]) == "HTTP/" {
			kind = fmt.Errorf("%w: %w", http.ErrSchemeMismatch, record)
			return "check the base URL: the port speaks http, not https", true, kind
		}
		return "check the base URL's port", true, record
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // how crypto/tls names an alert
		return "the two sides agree on no way to speak TLS; check the base URL, and MinVersion and certificates in " +
			"WithTransport's TLSClientConfig", true, op
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy, not Esper, cannot be reached; check HTTP_PROXY and HTTPS_PROXY, in which special characters of " +
			"a password are percent-encoded (%23 for #)", false, op
	case errors.As(err, &dns):
		return "check the tenant or the base URL, and this machine's network", false, dns
	case errors.As(err, &op):
		return "", false, op
	case errors.Is(err, ErrHTTP2):
		return "", true, ErrHTTP2
	case strings.HasPrefix(err.Error(), "net/http: invalid "): // a field that a middleware added
		return "", true, err
	}
	for _, known := range []error{
		io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, context.Canceled, context.DeadlineExceeded,
		gzip.ErrHeader, gzip.ErrChecksum,
	} {
		if errors.Is(err, known) {
			return "", false, known
		}
	}
	if t := (interface{ Timeout() bool })(nil); errors.As(err, &t) && t.Timeout() {
		return "", false, err
	}
	return "", false, nil
}

// noRoots reports whether the system has no CA certificate at all, as an empty container.
func noRoots() bool {
	pool, err := x509.SystemCertPool()
	return err != nil || pool.Equal(x509.NewCertPool())
}

// proxyError says that a proxy could not be chosen, or that the proxy refused to connect to the server.
type proxyError struct {
	text      string
	permanent bool
}

func (e *proxyError) Error() string { return e.text }
