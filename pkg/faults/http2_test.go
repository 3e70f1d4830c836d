package faults

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const always = 1 << 30

// misbehaviour answers a stream in a wrong way. It reports whether the connection stays open.
type misbehaviour func(s *stage, f *http2.Framer, stream uint32) bool

func goAway(code http2.ErrCode) misbehaviour {
	return func(s *stage, f *http2.Framer, stream uint32) bool {
		if s.overHTTP2.Load() == 0 { // the handler has not run
			stream = 0
		}
		_ = f.WriteGoAway(stream, code, nil)
		return false
	}
}

func resetStream(code http2.ErrCode) misbehaviour {
	return func(_ *stage, f *http2.Framer, stream uint32) bool {
		_ = f.WriteRSTStream(stream, code)
		return true
	}
}

func halfAnswer(s *stage, f *http2.Framer, stream uint32) bool {
	body := s.tokenInfo()
	writeHeaders(f, stream, len(body))
	_ = f.WriteData(stream, false, []byte(body[:len(body)/2]))
	return false
}

// tokenInfo is the answer to TokenInfo, which is all that comes over HTTP/2.
func (s *stage) tokenInfo() string {
	return fmt.Sprintf(`{"id":"570","enterprise":%q,"token":%q}`, enterpriseID, s.server.Token())
}

func writeHeaders(f *http2.Framer, stream uint32, length int) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":status", "200"}, {"content-type", "application/json"}, {"content-length", strconv.Itoa(length)}} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
}

// overHTTP2 is a server that prefers HTTP/2. It misbehaves at the first so many requests over it, before or after it has
// handled them.
func overHTTP2(handled bool, requests int32, m misbehaviour) func(s *stage) {
	return secured(func(s *stage) {
		var seen atomic.Int32
		s.secure.NextProtos = []string{http2.NextProtoTLS, "http/1.1"}
		s.http2 = func(f *http2.Framer, stream uint32, faulty bool) bool {
			faulty = faulty && seen.Add(1) <= requests
			if handled || !faulty {
				s.overHTTP2.Add(1)
			}
			if faulty {
				return m(s, f, stream)
			}
			body := s.tokenInfo()
			writeHeaders(f, stream, len(body))
			return f.WriteData(stream, true, []byte(body)) == nil
		}
	})
}

// serveHTTP2 calls request for each stream that the client opens, until it returns false.
func serveHTTP2(conn net.Conn, request func(f *http2.Framer, stream uint32) bool) {
	f := http2.NewFramer(conn, conn)
	if _, err := io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface))); err != nil || f.WriteSettings() != nil {
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
