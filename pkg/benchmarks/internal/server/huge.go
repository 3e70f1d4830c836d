package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/answers"
)

const (
	piece  = 1 << 20
	pieces = 1 << 10 // 1 GiB in all
)

// The body is a valid answer, except for its length: the name of the user takes 1 GiB.
var (
	before, after, _ = strings.Cut(answers.Info, "bindya") //nolint:gochecknoglobals // constant
	filling          = strings.Repeat("x", piece)          //nolint:gochecknoglobals // constant
)

func huge(w http.ResponseWriter) {
	w.WriteHeader(http.StatusOK)
	if _, err := io.WriteString(w, before); err != nil {
		return
	}
	for range pieces {
		if _, err := io.WriteString(w, filling); err != nil {
			return // the client has closed the connection
		}
	}
	_, _ = io.WriteString(w, after)
}

// packed holds the pieces of the body, each as a gzip member. A gzip stream may have any number of members.
var packed = sync.OnceValue(func() (p [3][]byte) { //nolint:gochecknoglobals // constant
	for i, text := range []string{before, filling, after} {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		p[i] = buf.Bytes()
	}
	return p
})

func hugeGzip(w http.ResponseWriter) {
	p := packed()
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(http.StatusOK)
	if _, err := w.Write(p[0]); err != nil {
		return
	}
	for range pieces {
		if _, err := w.Write(p[1]); err != nil {
			return
		}
	}
	_, _ = w.Write(p[2])
}
