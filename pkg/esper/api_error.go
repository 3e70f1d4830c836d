package esper

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/esper-go/esper-go/gen"
)

const (
	maxDetails     = 32
	maxDetailDepth = 4
)

// newAPIError reads what it can of an answer that is not 2xx; nothing in it is required.
func newAPIError(operation string, resp *http.Response, body []byte, known secrets) *APIError {
	e := &APIError{
		Operation:  operation,
		StatusCode: resp.StatusCode,
		RequestID:  known.clean(resp.Header.Get("X-Request-Id")),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		Body:       body,
	}
	var envelope gen.ErrorResponse
	_ = json.Unmarshal(body, &envelope) // a field of another type is skipped, and the others are read
	e.Message = envelope.Message
	if e.Message == "" {
		e.Message = envelope.Detail
	}
	e.Message = known.clean(e.Message)
	for _, text := range flatten(nil, "", envelope.Errors, 0) {
		e.Details = append(e.Details, known.clean(text))
	}
	return e
}

// flatten turns the errors of an answer, whatever their shape, into texts.
func flatten(texts []string, name string, v any, depth int) []string {
	if len(texts) == maxDetails || depth > maxDetailDepth {
		return texts
	}
	switch v := v.(type) {
	case nil:
		return texts
	case []any:
		for _, item := range v {
			texts = flatten(texts, name, item, depth+1)
		}
		return texts
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			texts = flatten(texts, key, v[key], depth+1)
		}
		return texts
	}
	text := fmt.Sprint(v)
	if name != "" {
		text = name + ": " + text
	}
	return append(texts, text)
}

// retryAfter reads a Retry-After (RFC 9110, section 10.2.3): whole seconds or a date. What is
// neither, or does not fit a Duration, or lies in the past, is 0.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" { // as in most errors; the parsers below would make errors of their own
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		if seconds > math.MaxInt64/uint64(time.Second) {
			return 0
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
