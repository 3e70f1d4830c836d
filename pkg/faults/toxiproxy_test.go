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

// toxic is a fault that toxiproxy makes. Its attributes are JSON.
type toxic struct{ kind, stream, attributes string }

// reset makes a connection that ends do so with a reset. Toxiproxy arranges for that when it sees a
// reset_peer, which is given no say in anything else.
func reset(stream string) toxic { return toxic{"reset_peer", stream, `{"timeout":0},"toxicity":0`} }

// upstream is what the client sends, downstream what the server does.
func upstream(kind, attributes string) toxic   { return toxic{kind, "upstream", attributes} }
func downstream(kind, attributes string) toxic { return toxic{kind, "downstream", attributes} }

func cutAt(stream string, bytes int) toxic {
	return toxic{"limit_data", stream, fmt.Sprintf(`{"bytes":%d}`, bytes)}
}

// proxyTo starts a toxiproxy before an address and returns its own.
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

// slowly is a stage whose answers come at 1 kB/s.
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

// slowClose has an answer that ends where the connection does, and that late.
func slowClose(t *testing.T) *stage {
	t.Helper()
	return behindToxics(func(s *script, w io.Writer, r *http.Request, _ int) bool {
		status, body := s.body(r.Method)
		_, _ = io.WriteString(w, head(status, "Connection: close")+body)
		return false
	}, downstream("slow_close", `{"delay":4000}`))(t)
}
