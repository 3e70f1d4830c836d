package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

// inWords turns a text of the library, which is written for Go programmers, into one for operators: what they can do about
// it stands here in words of this command, and any other clause that names something of Go is left out.
func inWords(text string) string {
	text = strings.NewReplacer(
		"renew: ", "", "esper: ", "", context.Canceled.Error(), "stopped by a signal", context.DeadlineExceeded.Error(), "it took too long",
		"give it (WithInitialToken, esper-key adopt)", "give it to `esper-key adopt`",
		"(WithInitialToken, esper-key adopt)", "with `esper-key adopt`", "(Source.Adopt, esper-key adopt)", "with `esper-key adopt`",
		"the key given with WithInitialToken", "the key of --key-file",
		"to the system's or to RootCAs in WithTransport's TLSClientConfig", "to the system's, or name it in SSL_CERT_FILE",
		"WithPersonalAccessTokens (esper-key --via personal-access-token)", "--via personal-access-token",
		"keep RenewalError.Body, which is what arrived, and ask TokenInfo whether", "the store keeps what arrived; `esper-key check` tells whether",
		"ask TokenInfo whether", "`esper-key check` tells whether",
		"compare EnterpriseID and DeveloperAppID with what TokenInfo says", "`esper-key show` tells its enterprise and its app",
		"the initial key: ", "",
		"TokenInfo: ", "asking about the key: ", "RenewToken: ", "renewing the key: ",
		"ListPersonalAccessTokens: ", "asking for the personal access tokens: ", "RenewPersonalAccessToken: ", "renewing the personal access token: ",
		"strconv.ParseBool: ", "",
	).Replace(text)
	const ofGo = `\b(With[A-Z]|(Source|Client|Retry|RenewalError|os)\.[A-Z]|TokenInfo\b|RenewToken\b|\w+PersonalAccessToken)`
	return once(regexp.MustCompile(` ?\([^()]*`+ofGo+`[^()]*\)|[;,] [^;:,]*`+ofGo+`[^;:]*`).ReplaceAllString(text, ""))
}

// once leaves out a clause that has been said: two errors in one text may advise the same.
func once(text string) string {
	var said []string
	for clause := range strings.SplitSeq(text, "; ") {
		if !slices.Contains(said, clause) {
			said = append(said, clause)
		}
	}
	return strings.Join(said, "; ")
}

// oneLine returns the text of an error for a person, on one line.
func oneLine(err error) string { return clean(inWords(strings.ReplaceAll(err.Error(), "\n", "; "))) }

// clean replaces what a terminal would obey instead of showing it. A server or a store may have sent the text.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.C, r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// attrInWords makes the log speak as errors do; see slog.HandlerOptions.
func attrInWords(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case error:
		a.Value = slog.StringValue(oneLine(v))
	case string:
		a.Value = slog.StringValue(inWords(v))
	}
	return a
}

// withoutKeys removes from a text whatever may be a key. A person may have given the key as an argument by mistake.
func withoutKeys(text string) string {
	return regexp.MustCompile(`[A-Za-z0-9_.~+/-]{20,}=*`).ReplaceAllString(text, "…")
}

// plainWord returns a text that a person wrote, if it can be repeated: what is no plain word may be a key or a password.
func plainWord(text, otherwise string) string {
	if regexp.MustCompile(`^[A-Za-z_-]{1,25}$`).MatchString(text) {
		return text
	}
	return otherwise
}

// tidy removes what editors, shells and files from Windows leave around a value.
func tidy(value string) string {
	return strings.TrimFunc(value, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' })
}

// ends says when a key ends.
func ends(at time.Time) string {
	left := time.Until(at)
	if left <= 0 {
		return "ended on " + stamp(at)
	}
	return fmt.Sprintf("ends on %s, in %s", stamp(at), long(left))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// long returns a duration in words, in the largest unit of which there are two or more.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

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
	dropped atomic.Int64
	records chan []byte // nil is the end
	closed  chan struct{}
}

func newLog(to io.Writer, format string) *logQueue {
	q := &logQueue{records: make(chan []byte, logRecords), closed: make(chan struct{})}
	logger := func(to io.Writer) *slog.Logger {
		options := &slog.HandlerOptions{ReplaceAttr: attrInWords}
		if format == "json" {
			return slog.New(slog.NewJSONHandler(to, options))
		}
		return slog.New(slog.NewTextHandler(to, options))
	}
	q.Logger = logger(q)
	go func() {
		defer close(q.closed)
		direct, told := logger(to), int64(0) // that records were dropped must not be dropped itself
		for record := range q.records {
			if n := q.dropped.Load(); n > told {
				direct.Warn("nobody read the log, and records of it were dropped", slog.Int64("dropped", n-told))
				told = n
			}
			if record == nil {
				return
			}
			_, _ = to.Write(record) // nobody could be told of an error
		}
	}()
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

// close waits until the records are written, but not for long.
func (q *logQueue) close() {
	end := time.After(logEnd)
	select {
	case q.records <- nil:
	case <-end:
		return
	}
	select {
	case <-q.closed:
	case <-end:
	}
}
