package network

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
)

// RedactTrace replaces the caller's httptrace in ctx, if there is one, by a trace that is told everything but secrets:
// not the values of Authorization and of the path of HTTP/2, and the header of a 1xx answer.
func RedactTrace(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return ctx
	}
	redacted := *trace
	if got := trace.Got1xxResponse; got != nil {
		redacted.Got1xxResponse = func(code int, _ textproto.MIMEHeader) error {
			_ = got(code, textproto.MIMEHeader{}) // an error would end the request
			return nil
		}
	}
	if wrote := trace.WroteHeaderField; wrote != nil {
		redacted.WroteHeaderField = func(name string, values []string) {
			if low := strings.ToLower(name); low == "authorization" || low == ":path" {
				values = []string{"[secret]"}
			}
			wrote(name, slices.Clone(values)) // a copy, because net/http sends the original
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
