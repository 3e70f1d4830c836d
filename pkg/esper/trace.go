package esper

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
)

// quiet returns ctx with its trace, if it has one, told nothing of the secrets: a trace that was
// put into the request's context above the last hop works below it.
func (s *seal) quiet(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil || trace.WroteHeaderField == nil && trace.Got1xxResponse == nil {
		return ctx
	}
	told := *trace
	if wrote := trace.WroteHeaderField; wrote != nil {
		told.WroteHeaderField = func(name string, values []string) {
			values = slices.Clone(values) // net/http sends the original
			if strings.EqualFold(name, "Authorization") {
				values = []string{s.secrets[0].String()}
			}
			s.secrets.redactHeader(map[string][]string{name: values})
			wrote(name, values)
		}
	}
	if got := trace.Got1xxResponse; got != nil {
		told.Got1xxResponse = func(code int, header textproto.MIMEHeader) error {
			s.secrets.redactHeader(header)
			return got(code, header)
		}
	}
	return httptrace.WithClientTrace(untraced{ctx}, &told)
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
