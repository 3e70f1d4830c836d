package faults

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

func proxyFaults() []fault {
	const cannot = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
	const who = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
	cutShort := "HTTP/1.1 200 Connection est"
	return []fault{
		{"proxy: CONNECT gets 407", ample, behindProxy(who), want{"“the proxy proxy.test answered CONNECT with 407 Proxy Authentication Required”", 0}, want{notDone + "“the proxy proxy.test answered CONNECT with 407 Proxy Authentication Required”", 0}},
		{"proxy: CONNECT gets 502", ample, behindProxy(cannot), want{"“the proxy proxy.test answered CONNECT with 502 Bad Gateway”", 0}, want{notDone + "“the proxy proxy.test answered CONNECT with 502 Bad Gateway”", 0}},
		{"proxy: closes on CONNECT", ample, behindProxy(""), want{broken, 0}, want{notDone + broken, 0}},
		{"proxy: closes in its answer to CONNECT", ample, behindProxy(cutShort), want{broken, 0}, want{notDone + broken, 0}},
		{"proxy: closes the tunnel at once", ample, behindProxy("HTTP/1.1 200 OK\r\n\r\n"), want{broken, 0}, want{notDone + broken, 0}},
		{"proxy: refuses connections", ample, noProxy, want{"connection refused", 0}, want{notDone + "connection refused", 0}},
	}
}

// behindProxy is a stage with TLS through a proxy. The proxy sends answer to CONNECT and closes the connection.
func behindProxy(answer string) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		st := new(stage)
		shown, pool := sameCA(t, host)
		config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}}
		s := newFake(t, func(l net.Listener) net.Listener { return tls.NewListener(l, config) })
		proxy := listen(t)
		each(t, proxy, func(conn net.Conn) {
			in := bufio.NewReader(conn)
			if r, err := http.ReadRequest(in); err != nil || r.Method != http.MethodConnect {
				return
			}
			if !st.sound.Load() {
				_, _ = io.WriteString(conn, answer)
				return
			}
			tunnel(t, conn, in, s.Address())
		})
		st.lead(s, to(proxy.Addr().String()))
		st.base, st.healed = "https://"+host+"/api", st.dial
		st.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		st.transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test"})
		return st
	}
}

func tunnel(t *testing.T, client net.Conn, in io.Reader, address string) {
	t.Helper()
	server, err := to(address)(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
		close(done)
	}()
	_, _ = io.Copy(server, in)
	_ = server.Close()
	<-done
}

func noProxy(t *testing.T) *stage {
	t.Helper()
	st := behindProxy("")(t)
	st.dial = refused(t).dial
	return st
}
