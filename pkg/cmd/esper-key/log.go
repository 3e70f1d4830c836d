package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	logRecords = 256             // how many records wait at most
	logEnd     = 5 * time.Second // how long the end of the command waits for the last ones
)

// warnings is the log of the commands that end soon. A person is told of what is not as it should be, such as a file that
// other users can read. What fails is told as the command's own error.
type warnings struct {
	slog.Handler
	warn func(text string)
}

func (w warnings) Enabled(_ context.Context, level slog.Level) bool { return level == slog.LevelWarn }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(attr slog.Attr) bool {
		if err, ok := attr.Value.Any().(error); ok {
			text += ": " + err.Error()
		}
		return true
	})
	w.warn(oneLine(errors.New(text)))
	return nil
}

// logQueue is the log of `esper-key run`. Who logs never waits: behind standard error may be a pipe that nobody reads,
// and a renewal must not depend on that. Records that find the queue full are dropped and counted.
type logQueue struct {
	*slog.Logger
	dropped         atomic.Int64
	records         chan []byte
	closing, closed chan struct{}
}

func newLog(to io.Writer, format string) *logQueue {
	q := &logQueue{records: make(chan []byte, logRecords), closing: make(chan struct{}), closed: make(chan struct{})}
	logger := func(to io.Writer) *slog.Logger {
		options := &slog.HandlerOptions{ReplaceAttr: attrInWords}
		if format == "json" {
			return slog.New(slog.NewJSONHandler(to, options))
		}
		return slog.New(slog.NewTextHandler(to, options))
	}
	q.Logger = logger(q)
	go q.copy(to, logger(to))
	return q
}

// Write adds a record to the queue.
func (q *logQueue) Write(record []byte) (int, error) {
	select {
	case q.records <- bytes.Clone(record):
	default:
		q.dropped.Add(1)
	}
	return len(record), nil
}

// copy writes the records until the queue is closed and empty. It tells direct how many were dropped: that record must
// not be dropped itself.
func (q *logQueue) copy(to io.Writer, direct *slog.Logger) {
	defer close(q.closed)
	told := int64(0)
	for closing := q.closing; closing != nil || len(q.records) > 0; {
		select {
		case record := <-q.records:
			_, _ = to.Write(record) // nobody could be told of an error
		case <-closing:
			closing = nil
		}
		if n := q.dropped.Load(); n > told {
			direct.Warn("nobody read the log, and records of it were dropped", slog.Int64("dropped", n-told))
			told = n
		}
	}
}

// close waits until the records are written, but not for long.
func (q *logQueue) close() {
	close(q.closing)
	select {
	case <-q.closed:
	case <-time.After(logEnd):
	}
}
