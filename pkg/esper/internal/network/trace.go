package network

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
)

// RedactTrace replaces the caller's httptrace in ctx, if there is one, by a trace that passes events on to the caller's
// without secrets. The caller's trace gets key as the value of Authorization, path as the path of HTTP/2, and no header
// of a 1xx answer. If renewal is set, an error of the caller's trace does not end the request.
func RedactTrace(ctx context.Context, key, path string, renewal bool) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return ctx
	}
	redacted := *trace
	if wrote := trace.WroteHeaderField; wrote != nil {
		redacted.WroteHeaderField = func(name string, values []string) {
			switch strings.ToLower(name) {
			case "authorization":
				values = []string{key}
			case ":path": // of HTTP/2
				values = []string{path}
			}
			wrote(name, slices.Clone(values)) // a copy, because net/http sends the original
		}
	}
	if got := trace.Got1xxResponse; got != nil {
		redacted.Got1xxResponse = func(code int, _ textproto.MIMEHeader) error {
			err := got(code, textproto.MIMEHeader{})
			if renewal {
				return nil
			}
			return err
		}
	}
	return httptrace.WithClientTrace(untraced{ctx}, &redacted)
}

// untraced is a context that hides the caller's trace, because WithClientTrace would combine the new one with it.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	v := c.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}
