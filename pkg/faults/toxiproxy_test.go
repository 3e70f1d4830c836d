package faults

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// toxic is a fault that toxiproxy makes, on the stream upstream or downstream. Its attributes are JSON.
type toxic struct{ kind, stream, attributes string }

// reset makes a connection end with a reset. Toxiproxy sets that up for each connection if there is a
// reset_peer toxic. Its toxicity of 0 keeps that toxic from doing anything else.
func reset(stream string) toxic { return toxic{"reset_peer", stream, `{"timeout":0},"toxicity":0`} }

// upstream is a fault in what the client sends, downstream one in what the server sends.
func upstream(kind, attributes string) toxic   { return toxic{kind, "upstream", attributes} }
func downstream(kind, attributes string) toxic { return toxic{kind, "downstream", attributes} }

func cutAt(stream string, bytes int) toxic {
	return toxic{"limit_data", stream, fmt.Sprintf(`{"bytes":%d}`, bytes)}
}

// proxyTo starts a toxiproxy that leads to address, and returns the address on which it listens.
func proxyTo(t testing.TB, address string, toxics ...toxic) (listens string, stop func()) {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(api, "faults", "127.0.0.1:0", address)
	for _, x := range toxics {
		text := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, x.kind, x.stream, x.attributes)
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	return proxy.Listen, proxy.Stop
}

// through is a stage with toxics between the client and espertest's server.
func through(toxics ...toxic) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		s := newFake(t, nil)
		address, stop := proxyTo(t, s.Address(), toxics...)
		t.Cleanup(stop)
		return new(stage).lead(s, to(address))
	}
}

// slowly is a stage whose answers arrive at 1 kB/s.
func slowly(a answer) func(t *testing.T) *stage {
	return behindToxics(a, downstream("bandwidth", `{"rate":1}`))
}

func behindToxics(a answer, toxics ...toxic) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		st := scripted(a)(t)
		address, stop := proxyTo(t, st.Address(), toxics...)
		t.Cleanup(stop)
		st.dial = to(address)
		return st
	}
}

// slowClose is a stage whose answers end when the connection ends, which happens late.
func slowClose(t *testing.T) *stage {
	t.Helper()
	return behindToxics(func(s *script, w io.Writer, r *http.Request, _ int) bool {
		status, body := s.body(r.Method)
		_, _ = io.WriteString(w, head(status, "Connection: close")+body)
		return false
	}, downstream("slow_close", `{"delay":8000}`))(t)
}
