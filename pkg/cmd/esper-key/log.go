package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	logRecords = 256             // how many records wait at most
	logEnd     = 5 * time.Second // how long the end of the command waits for the last ones
)

// logQueue is the log of `esper-key run`. Who logs never waits: behind standard error may be a pipe that nobody reads,
// and a renewal must not depend on that. Records that find the queue full are dropped and counted.
type logQueue struct {
	*slog.Logger
	dropped atomic.Int64
	queue   chan func()
}

func newLog(to io.Writer, format string) (*logQueue, error) {
	q := &logQueue{queue: make(chan func(), logRecords)}
	record := writerFunc(func(text []byte) {
		text = bytes.Clone(text)
		q.add(func() { _, _ = to.Write(text) }) // nobody could be told of an error
	})
	logger := func(to io.Writer) *slog.Logger {
		options := &slog.HandlerOptions{ReplaceAttr: attrInWords}
		if format == "text" {
			return slog.New(slog.NewTextHandler(to, options))
		}
		return slog.New(slog.NewJSONHandler(to, options))
	}
	if format != "text" && format != "json" {
		return nil, usage("--log-format is neither text nor json")
	}
	q.Logger = logger(record)
	direct := logger(to) // for what must not be dropped itself
	go func() {
		told := int64(0)
		for write := range q.queue {
			write()
			if n := q.dropped.Load(); n > told {
				direct.Warn("nobody read the log, and records of it were dropped", slog.Int64("dropped", n-told))
				told = n
			}
		}
	}()
	return q, nil
}

func (q *logQueue) add(f func()) {
	select {
	case q.queue <- f:
	default:
		q.dropped.Add(1)
	}
}

// flush waits until the records are written, but not for long.
func (q *logQueue) flush() {
	written := make(chan struct{})
	over := time.After(logEnd)
	select {
	case q.queue <- func() { close(written) }:
	case <-over:
		return
	}
	select {
	case <-written:
	case <-over:
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(text []byte) (int, error) { f(text); return len(text), nil }
