package network

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// Pooled keeps the caller's settings that are within the limits, and does not change the caller's transport.
func TestPooledSettings(t *testing.T) {
	mine := &http.Transport{MaxResponseHeaderBytes: 1 << 10, MaxIdleConns: 7, HTTP2: &http.HTTP2Config{SendPingTimeout: time.Hour}}
	wide := &http.Transport{MaxResponseHeaderBytes: 1 << 30}
	for name, tc := range map[string]struct {
		transport *http.Transport
		header    int64
		ping      time.Duration
		idle      int
	}{
		"own":    {nil, maxHeader, pingAfter, idleConns},
		"mine":   {mine, 1 << 10, time.Hour, 7},
		"widest": {wide, maxHeader, pingAfter, 0},
	} {
		got := Pooled(tc.transport)
		if got.MaxResponseHeaderBytes != tc.header || got.HTTP2.SendPingTimeout != tc.ping || got.HTTP2.PingTimeout != pingTimeout || got.MaxIdleConns != tc.idle || !got.DisableCompression {
			t.Errorf("%s: header %d, ping %v and %v, %d idle", name, got.MaxResponseHeaderBytes, got.HTTP2.SendPingTimeout, got.HTTP2.PingTimeout, got.MaxIdleConns)
		}
		if single := Single(got); !single.DisableKeepAlives || !single.Protocols.HTTP1() || single.Protocols.HTTP2() || single.ForceAttemptHTTP2 || len(single.TLSNextProto) != 0 {
			t.Errorf("%s: Single returns a transport that is not limited to new HTTP/1.1 connections, protocols %+v", name, single.Protocols)
		}
	}
	if mine.DisableCompression || mine.HTTP2.PingTimeout != 0 || wide.MaxResponseHeaderBytes != 1<<30 {
		t.Error("the caller's transport was changed")
	}
}

// Kind recognises an error of a caller's dialer, and errors.Is still finds the original error.
func TestDialErrorsHaveAKind(t *testing.T) {
	boom := errors.New("boom")
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, boom }
	_, err := Pooled(&http.Transport{DialContext: dial}).DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if _, _, kind := Kind(err); kind == nil || !errors.Is(kind, boom) {
		t.Errorf("%v is of kind %v", err, kind)
	}
	if _, _, kind := Kind(boom); kind != nil {
		t.Errorf("an error that is not of a dialer is of kind %v, want none", kind)
	}
}
