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
	"reflect"
	"slices"
	"strconv"
	"strings"
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

func loadScenarios() ([]scenario, error) {
	dec := json.NewDecoder(bytes.NewReader(scenariosJSON))
	dec.DisallowUnknownFields()
	var entries, all []scenario
	if err := dec.Decode(&entries); err != nil {
		return nil, fmt.Errorf("scenarios.json: %w", err)
	}
	for _, s := range entries {
		if s.Answer.Body != nil {
			body := json.NewDecoder(bytes.NewReader(s.Answer.Body))
			body.UseNumber()
			if err := body.Decode(&s.body); err != nil {
				return nil, fmt.Errorf("scenarios.json: %s: %w", s.Name, err)
			}
		}
		for _, s.operation = range s.Operations {
			all = append(all, s)
		}
	}
	return all, nil
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
	case s.Broken != "" && arrived == 0:
		return "the renewal is not sent"
	case s.Broken != "" && arrived > 1:
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
		problems = append(problems, differences(s.body, shown)...)
	}
	return strings.Join(problems, ", ")
}

// differences compares objects property by property, also in lists of objects. An absent property counts as null.
func differences(want, shown map[string]any) (problems []string) {
	names := maps.Clone(want)
	maps.Copy(names, shown)
	delete(names, "undeclared")
	for _, name := range slices.Sorted(maps.Keys(names)) {
		w, g := normal(name, want[name]), normal(name, shown[name])
		list, others := objects(want[name]), objects(shown[name])
		switch {
		case reflect.DeepEqual(w, g), fromClock(want[name], g):
		case g == nil:
			problems = append(problems, "no "+name)
		case len(list) > 0 && len(list) == len(others):
			for i := range list {
				problems = append(problems, differences(list[i], others[i])...)
			}
		default:
			problems = append(problems, "another "+name)
		}
	}
	return problems
}

// objects returns v if it is a list of objects only, else nil.
func objects(v any) (list []map[string]any) {
	items, _ := v.([]any)
	for _, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil
		}
		list = append(list, object)
	}
	return list
}

// fromClock reports whether shown, a value after normal, is of the kind that the placeholder want stands for.
func fromClock(want, shown any) bool {
	text, ok := shown.(string)
	if !ok {
		return false
	}
	var err error
	switch want {
	case anyDate:
		_, err = time.Parse(time.RFC3339Nano, text)
	case anyNumber:
		_, err = strconv.ParseInt(text, 10, 64)
	default:
		return false
	}
	return err == nil
}

// normal removes differences that do not matter: a number becomes its text, a date is put into UTC, and a null in an
// object is left out.
func normal(name string, v any) any {
	switch v := v.(type) {
	case json.Number:
		// Some languages have no integers in a value without a type, and show 570.0 or 1.5e9.
		if number, ok := new(big.Rat).SetString(v.String()); ok && number.IsInt() {
			return number.Num().String()
		}
		return v.String()
	case string:
		if !strings.HasSuffix(name, "_on") && !strings.HasSuffix(name, "_at") {
			return v
		}
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
		return strings.Replace(v, " ", "T", 1) // a date without a zone: use one spelling
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal("", v[i])
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for key, value := range v {
			if value != nil {
				object[key] = normal("", value)
			}
		}
		return object
	}
	return v
}
