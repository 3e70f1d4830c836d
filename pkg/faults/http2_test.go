package faults

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Faults are faults of a server that prefers HTTP/2. They do not affect renewals, which always go over HTTP/1.1.
func http2Faults() []fault {
	renewed := want{succeeded, 1}
	return []fault{
		{"HTTP/2: GOAWAY before the handler, once", ample, overHTTP2(false, 1, goAway(http2.ErrCodeNo)), want{succeeded, 1}, renewed},
		{"HTTP/2: GOAWAY after the handler, once", ample, overHTTP2(true, 1, goAway(http2.ErrCodeNo)), want{succeeded, 2}, renewed},
		{"HTTP/2: REFUSED_STREAM before the handler, once", ample, overHTTP2(false, 1, resetStream(http2.ErrCodeRefusedStream)), want{succeeded, 1}, renewed},
		{"HTTP/2: REFUSED_STREAM after the handler, once", ample, overHTTP2(true, 1, resetStream(http2.ErrCodeRefusedStream)), want{succeeded, 2}, renewed},
		{"HTTP/2: PROTOCOL_ERROR before the handler, once", ample, overHTTP2(false, 1, resetStream(http2.ErrCodeProtocol)), want{succeeded, 1}, renewed},
		{"HTTP/2: PROTOCOL_ERROR after the handler, once", ample, overHTTP2(true, 1, resetStream(http2.ErrCodeProtocol)), want{succeeded, 2}, renewed},
		{"HTTP/2: GOAWAY before the handler, always", short, overHTTP2(false, always, goAway(http2.ErrCodeNo)), want{succeeded, 1}, renewed},
		{"HTTP/2: PROTOCOL_ERROR after the handler, always", short, overHTTP2(true, always, resetStream(http2.ErrCodeProtocol)), want{succeeded, many}, renewed},
		{"HTTP/2: GOAWAY with PROTOCOL_ERROR before the handler, always", ample, overHTTP2(false, always, goAway(http2.ErrCodeProtocol)), want{succeeded, 1}, renewed},
		{"HTTP/2: GOAWAY with PROTOCOL_ERROR after the handler, always", ample, overHTTP2(true, always, goAway(http2.ErrCodeProtocol)), want{succeeded, 2}, renewed},
		{"HTTP/2: INTERNAL_ERROR after the handler, always", ample, overHTTP2(true, always, resetStream(http2.ErrCodeInternal)), want{succeeded, 2}, renewed},
		{"HTTP/2: connection closed in the answer, always", ample, overHTTP2(true, always, halfAnswer), want{succeeded, 2}, renewed},
	}
}

const always = 1 << 30

// misbehaviour answers a stream in a wrong way. It returns false if the server has to close the connection.
type misbehaviour func(f *http2.Framer, stream uint32, s *script) bool

func goAway(code http2.ErrCode) misbehaviour {
	return func(f *http2.Framer, stream uint32, s *script) bool {
		last := stream
		if s.Requests(http.MethodGet) == 0 { // the handler has not run
			last = 0
		}
		_ = f.WriteGoAway(last, code, nil)
		return false
	}
}

func resetStream(code http2.ErrCode) misbehaviour {
	return func(f *http2.Framer, stream uint32, _ *script) bool {
		_ = f.WriteRSTStream(stream, code)
		return true
	}
}

func halfAnswer(f *http2.Framer, stream uint32, s *script) bool {
	_, body := s.body(http.MethodGet)
	writeHeaders(f, stream, len(body))
	_ = f.WriteData(stream, false, []byte(body[:len(body)/2]))
	return false
}

func writeHeaders(f *http2.Framer, stream uint32, length int) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":status", "200"}, {"content-type", "application/json"}, {"content-length", strconv.Itoa(length)}} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
}

// overHTTP2 is a stage whose server prefers HTTP/2. It misbehaves at the given number of first requests
// over HTTP/2: after it has acted on them if handled is set, else without acting.
func overHTTP2(handled bool, requests int32, m misbehaviour) func(t *testing.T) *stage {
	return func(t *testing.T) *stage {
		t.Helper()
		st := new(stage)
		shown, pool := sameCA(t, host)
		l := tls.NewListener(listen(t), &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{shown}, NextProtos: []string{"h2", "http/1.1"},
		})
		s := &script{listener: l, counts: make(map[string]int), answer: sound}
		var seen atomic.Int32
		each(t, l, func(conn net.Conn) {
			secure, ok := conn.(*tls.Conn)
			if !ok || secure.HandshakeContext(t.Context()) != nil {
				return
			}
			if secure.ConnectionState().NegotiatedProtocol != "h2" {
				s.serve(conn)
				return
			}
			after := st.sound.Load() // read once for each connection, as a late request may come over an old one
			serveHTTP2(conn, func(f *http2.Framer, stream uint32) bool {
				faulty := seen.Add(1) <= requests && !after
				if handled || !faulty {
					s.count(http.MethodGet)
				}
				if faulty {
					return m(f, stream, s)
				}
				_, body := s.body(http.MethodGet)
				writeHeaders(f, stream, len(body))
				return f.WriteData(stream, true, []byte(body)) == nil
			})
		})
		st.lead(s, to(s.Address()))
		st.base = "https://" + host + "/api"
		st.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		return st
	}
}

// serveHTTP2 calls request for each stream that the client opens, until it returns false.
func serveHTTP2(conn net.Conn, request func(f *http2.Framer, stream uint32) bool) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() && f.WriteSettingsAck() != nil {
				return
			}
		case *http2.HeadersFrame:
			if !request(f, frame.StreamID) {
				return
			}
		}
	}
}
