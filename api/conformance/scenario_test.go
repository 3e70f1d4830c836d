package conformance

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed scenarios.json
var scenariosJSON []byte

// These stand in scenarios.json for values that the server takes from its clock.
const (
	anyDate   = "any date"
	anyNumber = "any number"
)

// scenario is an entry of scenarios.json, for one of the operations of that entry.
type scenario struct {
	Name       string   `json:"name"`
	Operations []string `json:"operations"`
	Key        string   `json:"key"` // the first key of the server, if the usual key will not do
	Own        bool     `json:"own"` // the fake server makes the answer itself; answer says what to expect
	Answer     struct {
		Status     int             `json:"status"`
		RetryAfter string          `json:"retry_after"`
		Type       string          `json:"type"` // the content type, if Text is sent in place of JSON
		Text       string          `json:"text"`
		Body       json.RawMessage `json:"body"`
	} `json:"answer"`
	// Broken is how the connection of a renewal breaks, so that no answer comes: "closed", "reset", "cut" (in the middle
	// of the answer), "late" (later than the client waits), "kept" (closed, after it has served a call before).
	Broken string `json:"broken"`
	// Undeclared is the value of an additional property of the body, which a client need not show.
	Undeclared json.RawMessage `json:"undeclared"`

	operation string
	body      map[string]any
}

// reply is what the program of a client prints for a command.
type reply struct {
	Status     int    `json:"status"`
	Value      any    `json:"value"`
	Error      any    `json:"error"`
	RetryAfter string `json:"retry_after"`
	Failure    string `json:"failure"`
}

func readReply(line []byte) (r reply, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err = dec.Decode(&r); err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("this is no answer: %.200q", line)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func loadScenarios(t *testing.T) (all []scenario) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(scenariosJSON))
	dec.DisallowUnknownFields()
	var entries []scenario
	must(t, dec.Decode(&entries))
	for _, s := range entries {
		if s.Answer.Body != nil {
			body := json.NewDecoder(bytes.NewReader(s.Answer.Body))
			body.UseNumber()
			must(t, body.Decode(&s.body))
		}
		for _, s.operation = range s.Operations {
			all = append(all, s)
		}
	}
	return all
}

// answer returns the body that the server sends.
func (s *scenario) answer() string {
	body := string(s.Answer.Body)
	if s.Undeclared != nil {
		body = fmt.Sprintf(`{"undeclared": %s, %s`, s.Undeclared, strings.TrimPrefix(body, "{"))
	}
	return body + s.Answer.Text
}

// judge returns in a few words what a client got wrong, or "" if nothing is wrong. A renewal without an answer has arrived
// at the server some number of times.
func (s *scenario) judge(got reply, arrived int) string {
	success := s.Answer.Status < 300
	part, other := got.Value, got.Error
	if !success {
		part, other = got.Error, got.Value
	}
	shown, isObject := part.(map[string]any)
	switch {
	case s.Broken != "" && arrived != 1:
		return fmt.Sprintf("the renewal is sent %d times", arrived)
	case s.Broken != "" && got.Value != nil:
		return "it is shown as a success"
	case s.Broken != "":
		return ""
	case success && !isObject && strings.HasPrefix(s.operation, "renew"):
		return "the new key is lost"
	case success && !isObject:
		return "the answer is lost"
	case got.Status == 0:
		return "the status is lost"
	case got.Status != s.Answer.Status:
		return fmt.Sprintf("it is shown as a %d", got.Status)
	case other != nil && success:
		return "it is shown as an error"
	case other != nil:
		return "it is shown as a success"
	}
	var problems []string
	if s.Answer.RetryAfter != got.RetryAfter {
		problems = append(problems, "no Retry-After")
	}
	if s.body != nil { // if the body is not JSON, a client may show anything
		names := maps.Clone(s.body)
		maps.Copy(names, shown)
		delete(names, "undeclared")
		for _, name := range slices.Sorted(maps.Keys(names)) {
			switch {
			case fits(name, s.body[name], shown[name]):
			case shown[name] == nil:
				problems = append(problems, "no "+name)
			default:
				problems = append(problems, "another "+name)
			}
		}
	}
	return strings.Join(problems, ", ")
}

// fits reports whether a client shows what was sent. A number may be text, a date any spelling of the same instant, and a
// null may be left out, as may what is not declared.
func fits(name string, sent, shown any) bool {
	if sent == nil || shown == nil {
		return sent == shown
	}
	switch sent := sent.(type) {
	case map[string]any:
		object, ok := shown.(map[string]any)
		names := maps.Clone(sent)
		maps.Copy(names, object)
		for key := range names {
			ok = ok && (key == "undeclared" || fits(key, sent[key], object[key]))
		}
		return ok
	case []any:
		list, ok := shown.([]any)
		ok = ok && len(list) == len(sent)
		for i := 0; ok && i < len(sent); i++ {
			ok = fits("", sent[i], list[i])
		}
		return ok
	}
	text, other := textOf(sent), textOf(shown)
	one, err := time.Parse(time.RFC3339Nano, text)
	another, otherErr := time.Parse(time.RFC3339Nano, other)
	switch isDate := strings.HasSuffix(name, "_on") || strings.HasSuffix(name, "_at"); {
	case sent == anyDate:
		return otherErr == nil
	case sent == anyNumber:
		_, err = strconv.ParseInt(other, 10, 64)
		return err == nil
	case isDate && err == nil && otherErr == nil:
		return one.Equal(another)
	case isDate: // without a zone: one spelling
		return strings.Replace(text, " ", "T", 1) == strings.Replace(other, " ", "T", 1)
	}
	return text == other
}

// textOf returns a value as text. Some languages have no integers in a value without a type, and show 570.0 or 1.5e9.
func textOf(v any) string {
	if n, ok := v.(json.Number); ok {
		if number, ok := new(big.Rat).SetString(n.String()); ok && number.IsInt() {
			return number.Num().String()
		}
	}
	return fmt.Sprint(v)
}
