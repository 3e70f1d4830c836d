package esper

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
)

// redactTrace returns ctx with its trace, if it has one, told nothing of the secrets: a trace that was
// put there above the last hop works below it.
func (a *attempt) redactTrace(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return ctx
	}
	redacted := *trace
	if wrote := trace.WroteHeaderField; wrote != nil {
		redacted.WroteHeaderField = func(name string, values []string) {
			switch strings.ToLower(name) {
			case "authorization":
				values = []string{a.credential.key.String()}
			case ":path": // of HTTP/2
				values = []string{a.request.URL.RequestURI()}
			}
			wrote(name, slices.Clone(values)) // net/http sends the original
		}
	}
	if got := trace.Got1xxResponse; got != nil {
		redacted.Got1xxResponse = func(code int, _ textproto.MIMEHeader) error {
			err := got(code, textproto.MIMEHeader{})
			if !a.accessToken.IsZero() {
				return nil // which would end a renewal on its way
			}
			return err
		}
	}
	return httptrace.WithClientTrace(untraced{ctx}, &redacted)
}

// untraced is a context without its trace, which httptrace would go on calling next to a new one.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	v := c.Context.Value(key)
	if _, ok := v.(*httptrace.ClientTrace); ok {
		return nil
	}
	return v
}
