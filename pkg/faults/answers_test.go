package faults

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	mebibyte    = 1 << 20
	tooMuchHead = hidden
)

// answerFaults are faults in which the connection works, and the answer of the server is unusual or wrong.
func answerFaults() []fault {
	return []fault{
		{"gzip bomb of 64 MiB", ample, scripted(bomb(false)), want{"ErrResponseTooLarge", 1}, want{unread + "ErrResponseTooLarge", 1}},
		{"gzip bomb of 64 MiB after the token", ample, scripted(bomb(true)), want{"ErrResponseTooLarge", 1}, want{succeeded, 1}},
		{"16 MiB without compression, after the token", ample, scripted(padded(16*mebibyte, false)), want{"ErrResponseTooLarge", 1}, want{succeeded, 1}},
		{"headers of 60 KiB", ample, scripted(headers(60 << 10)), want{succeeded, 1}, want{succeeded, 1}},
		{"headers of 10 MiB", ample, scripted(headers(10 * mebibyte)), want{tooMuchHead, attempts}, want{unknown + tooMuchHead, 1}},
		{"1 kB/s, beyond the timeout, token at the beginning", short, slowly(padded(16<<10, false)), want{timedOut, attempts}, want{succeeded, 1}},
		{"1 kB/s, beyond the timeout, token at the end", short, slowly(padded(16<<10, true)), want{timedOut, attempts}, want{unread + timedOut, 1}},
		{"slow close of an answer without a length", short, slowClose, want{timedOut, attempts}, want{succeeded, 1}},
		{"100, 102 and 103 before the answer", ample, scripted(before(informational)), want{succeeded, 1}, want{succeeded, 1}},
		{"a thousand 1xx answers before the answer", ample, scripted(before(strings.Repeat(informational, 334))), want{succeeded, 1}, want{succeeded, 1}},
		{"1xx answers without an end", ample, scripted(endless), want{tooMuchHead, attempts}, want{unknown + tooMuchHead, 1}},
		{"101 Switching Protocols", ample, scripted(switching), want{"APIError 101", 1}, want{unknown + "APIError 101", 1}},
		{"trailers, one of which echoes the key", ample, scripted(trailers), want{succeeded, 1}, want{succeeded, 1}},
		{"a server whose clock is a day ahead", ample, scripted(clock(24 * time.Hour)), want{succeeded, 1}, want{succeeded, 1}},
		{"a server whose clock is a day behind", ample, scripted(clock(-24 * time.Hour)), want{succeeded, 1}, want{succeeded, 1}},
		{"429 until a date, the clock a day ahead", ample, scripted(wait(24 * time.Hour)), want{"ErrRateLimited", 1}, want{notDone + "ErrRateLimited", 1}},
		{"429 until a date, the clock a day behind", ample, scripted(wait(-24 * time.Hour)), want{"ErrRateLimited", attempts}, want{notDone + "ErrRateLimited", attempts}},
		{"503 that echoes the key", ample, scripted(echo), want{"ErrServer", attempts}, want{unknown + "ErrServer", 1}},
	}
}

// bomb answers with a body of 64 MiB that is 64 KiB when compressed. It is the normal body with white space in the
// object: after its members if behind is set, else before them.
func bomb(behind bool) answer {
	blanks := strings.Repeat(packed(strings.Repeat(" ", mebibyte)), 64) // a series of gzip files is a gzip file
	return func(s *script, w io.Writer, r *http.Request, _ int) bool {
		status, body := s.body(r.Method)
		front, rest := "{", body[1:]
		if behind {
			front, rest = strings.TrimSuffix(body, "}"), "}"
		}
		body = packed(front) + blanks + packed(rest)
		_, _ = io.WriteString(w, head(status, "Content-Encoding: gzip", length(body))+body)
		return !r.Close
	}
}

func packed(text string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// padded answers with the normal body and white space in the object: before its members if front is set, else after
// them.
func padded(size int, front bool) answer {
	return func(s *script, w io.Writer, r *http.Request, _ int) bool {
		status, body := s.body(r.Method)
		blank := strings.Repeat(" ", size)
		if front {
			body = "{" + blank + body[1:]
		} else {
			body = strings.TrimSuffix(body, "}") + blank + "}"
		}
		_, _ = io.WriteString(w, head(status, length(body))+body)
		return !r.Close
	}
}

func headers(size int) answer {
	line := "X-Padding: " + strings.Repeat("x", 1000)
	return func(s *script, w io.Writer, r *http.Request, _ int) bool {
		status, body := s.body(r.Method)
		lines := make([]string, size/len(line), size/len(line)+1)
		for i := range lines {
			lines[i] = line
		}
		_, err := io.WriteString(w, head(status, append(lines, length(body))...)+body)
		return err == nil && !r.Close
	}
}

const informational = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

// before sends text, and then the normal answer.
func before(text string) answer {
	return func(s *script, w io.Writer, r *http.Request, n int) bool {
		_, _ = io.WriteString(w, text)
		return sound(s, w, r, n)
	}
}

func endless(s *script, w io.Writer, r *http.Request, _ int) bool {
	s.body(r.Method)
	for {
		if _, err := io.WriteString(w, strings.Repeat(informational, 100)); err != nil {
			return false
		}
	}
}

func switching(s *script, w io.Writer, r *http.Request, _ int) bool {
	_, body := s.body(r.Method)
	_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: esper\r\n\r\n"+body)
	return false
}

func trailers(s *script, w io.Writer, r *http.Request, _ int) bool {
	status, body := s.body(r.Method)
	_, _ = fmt.Fprintf(w, "%s%x\r\n%s\r\n0\r\nX-Key: %s\r\nX-Checksum: 1\r\n\r\n",
		head(status, "Transfer-Encoding: chunked", "Trailer: X-Key, X-Checksum"), len(body), body, r.Header.Get("Authorization"))
	return !r.Close
}

// clock answers as a server whose clock is wrong by off.
func clock(off time.Duration) answer {
	return func(s *script, w io.Writer, r *http.Request, _ int) bool {
		now := time.Now().Add(off).UTC()
		status, body := s.body(r.Method)
		body = strings.TrimSuffix(body, "}") + `,"created_on":"` + now.Format(time.RFC3339) + `"}`
		_, _ = io.WriteString(w, head(status, "Date: "+now.Format(http.TimeFormat), length(body))+body)
		return !r.Close
	}
}

func wait(off time.Duration) answer {
	return func(_ *script, w io.Writer, r *http.Request, _ int) bool {
		now := time.Now().Add(off).UTC()
		_, _ = io.WriteString(w, head(http.StatusTooManyRequests, "Date: "+now.Format(http.TimeFormat),
			"Retry-After: "+now.Add(time.Second).Format(http.TimeFormat), length("")))
		return !r.Close
	}
}

func echo(_ *script, w io.Writer, r *http.Request, _ int) bool {
	body := fmt.Sprintf(`{"message":"cannot serve %s","errors":[%q]}`, r.Header.Get("Authorization"), r.URL.String())
	_, _ = io.WriteString(w, head(http.StatusServiceUnavailable, "X-Request-Id: "+r.URL.RawQuery, length(body))+body)
	return !r.Close
}
