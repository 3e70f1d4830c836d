package esper

import (
	"compress/flate"
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
	"syscall"
)

// transportError is a request that net/http could not send, or whose answer it could not read. Its
// text holds nothing of the answer.
type transportError struct {
	text      string
	err       error // what errors.Is and errors.As find; nil if its text may not be shown
	permanent bool  // it cannot change within a call
}

func (e *transportError) Error() string { return e.text }
func (e *transportError) Unwrap() error { return e.err }
func (e *transportError) Timeout() bool { return timeout(e.err) }

// newTransportError says that what happened because of an error of net/http's. Such an error may quote
// the answer, and with it a key, so its text is shown only if it is of a kind that cannot, or if no
// connection was made.
func (a *attempt) newTransportError(what string, err error) error {
	hint, permanent, kind := kindOf(err)
	end, cause := a.Err(), context.Cause(a)
	switch {
	case end != nil && kind == nil && errors.Is(err, cause):
		kind = cause
	case kind != nil:
	case !a.maybeSent.Load():
		kind = err
	default:
		what = strings.Replace(what, "no answer", "no usable answer", 1)
		hint = fmt.Sprintf("it is no HTTP, or its header is over 64 KiB, or the connection failed (%T, whose text may quote the answer and is not shown)", innermost(err))
	}
	if end != nil {
		for _, why := range []error{cause, end} {
			if !errors.Is(kind, why) {
				kind = join(why, kind)
			}
		}
		permanent = false
	}
	text := what
	if kind != nil {
		text += ": " + kind.Error()
	}
	if hint != "" {
		text += "; " + hint
	}
	if a.timedOut() {
		text += " (WithTimeout limits an attempt)"
	}
	return a.clean(&transportError{text: a.matcher().Text(text), err: kind, permanent: permanent})
}

func innermost(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

func join(first, second error) error {
	if second == nil {
		return first
	}
	return fmt.Errorf("%w: %w", first, second)
}

// clean returns err, or if its text holds a secret one with another text, which keeps of the original
// only whether a context ended it.
func (a *attempt) clean(err error) error {
	if !a.matcher().In(err.Error()) && !a.matcher().In(fmt.Sprint(errors.Unwrap(err))) {
		return err
	}
	safe := &transportError{text: "an error whose text repeats a key and is not shown"}
	for _, kind := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			safe.err = kind
		}
	}
	return safe
}

// kindOf returns the part of an error of net/http's that cannot quote an answer, what the caller can
// do about it, and whether it would be the same again.
func kindOf(err error) (hint string, permanent bool, kind error) {
	var (
		proxy     *proxyError
		cert      *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		dns       *net.DNSError
		op        *net.OpError
		errno     syscall.Errno
		corrupt   flate.CorruptInputError
	)
	switch {
	case errors.As(err, &proxy):
		return "", proxy.permanent, proxy
	case errors.As(err, &cert) && errors.As(cert, &authority):
		return "if a company's proxy or a test server signs with an authority of its own, add that to the system's or to RootCAs in WithTransport's TLSClientConfig", true, cert
	case errors.As(err, &cert) && errors.As(cert, &name):
		return "check the base URL; or something in between answers in the server's place", true, cert
	case errors.As(err, &cert):
		return "check this machine's clock and the server's certificate", true, cert
	case errors.As(err, &record):
		if string(record.RecordHeader[:]) == "HTTP/" {
			return "check the base URL: the port speaks http, not https", true, fmt.Errorf("%w: %w", http.ErrSchemeMismatch, record)
		}
		return "check the base URL's port", true, record
	case errors.As(err, &alert):
		return "the two sides agree on no way to speak TLS; check the base URL, and MinVersion and certificates in WithTransport's TLSClientConfig", true, alert
	case errors.As(err, &dns) && dns.IsNotFound:
		return "check the tenant or the base URL, and this machine's network", false, dns
	case errors.As(err, &dns):
		return "", false, dns
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy does not answer; check HTTP_PROXY and HTTPS_PROXY", false, op
	case errors.As(err, &op):
		return "", false, op
	case errors.As(err, &errno):
		return "", false, errno
	case errors.As(err, &corrupt):
		return "", false, corrupt
	}
	for _, known := range []error{
		io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, context.Canceled, context.DeadlineExceeded, gzip.ErrHeader, gzip.ErrChecksum, errHTTP2,
	} {
		if errors.Is(err, known) {
			return "", errors.Is(known, errHTTP2), known
		}
	}
	switch text := err.Error(); {
	case strings.HasPrefix(text, "net/http: invalid "): // a field that a middleware added
		return "", true, err
	case strings.HasPrefix(text, "net/http: ") && timeout(err):
		return "", false, err
	}
	return "", false, nil
}

// proxyError is what a proxy, or the choice of one, did wrong before a connection was there.
type proxyError struct {
	text      string
	permanent bool
}

func (e *proxyError) Error() string { return e.text }
