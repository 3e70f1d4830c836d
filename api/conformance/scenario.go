package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

//go:embed scenarios.json
var scenariosJSON []byte

// anyDate stands in scenarios.json for a date that the server takes from its clock.
const anyDate = "any date"

// scenario is an entry of scenarios.json, for one of its operations.
type scenario struct {
	Name       string   `json:"name"`
	Operations []string `json:"operations"`
	Key        string   `json:"key"`
	Own        bool     `json:"own"`
	Answer     struct {
		Status     int             `json:"status"`
		RetryAfter string          `json:"retry_after"`
		Body       json.RawMessage `json:"body"`
	} `json:"answer"`
	// Undeclared is sent as one more property of the body, and need not be shown.
	Undeclared json.RawMessage `json:"undeclared"`

	operation string
	body      map[string]any
}

func loadScenarios() ([]scenario, error) {
	dec := json.NewDecoder(bytes.NewReader(scenariosJSON))
	dec.DisallowUnknownFields()
	var entries, all []scenario
	if err := dec.Decode(&entries); err != nil {
		return nil, fmt.Errorf("scenarios.json: %w", err)
	}
	for _, s := range entries {
		body := json.NewDecoder(bytes.NewReader(s.Answer.Body))
		body.UseNumber()
		if err := body.Decode(&s.body); err != nil {
			return nil, fmt.Errorf("scenarios.json: %s: %w", s.Name, err)
		}
		for _, s.operation = range s.Operations {
			all = append(all, s)
		}
	}
	return all, nil
}

// flags are the fake server's.
func (s *scenario) flags() ([]string, error) {
	args := []string{"-addr", "127.0.0.1:0"}
	if s.Key != "" {
		args = append(args, "-token", s.Key)
	}
	if s.Own {
		return args, nil
	}
	header := map[string][]string{}
	if s.Answer.RetryAfter != "" {
		header["Retry-After"] = []string{s.Answer.RetryAfter}
	}
	body := string(s.Answer.Body)
	if s.Undeclared != nil {
		body = fmt.Sprintf(`{"undeclared": %s, %s`, s.Undeclared, strings.TrimPrefix(body, "{"))
	}
	fault, err := json.Marshal(map[string]any{"status": s.Answer.Status, "header": header, "body": body})
	return append(args, "-fail", string(fault)), err
}

// check holds what a client shows against what it was sent. Missing is what it lacks, and says so.
func (s *scenario) check(got reply, lacks []string) (missing []string, err error) {
	if got.Failure != "" {
		return nil, fmt.Errorf("the client says: %.500s", got.Failure)
	}
	if got.Status != s.Answer.Status {
		return nil, fmt.Errorf("status %d, want %d", got.Status, s.Answer.Status)
	}
	want, shown := maps.Clone(s.body), map[string]any{}
	part, other := got.Value, got.Error
	if s.Answer.Status >= 300 {
		part, other = got.Error, got.Value
	}
	if other != nil {
		return nil, errors.New("both a value and an error are shown, or the wrong one")
	}
	if part != nil {
		object, ok := part.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%v is shown, want an object", part)
		}
		shown = maps.Clone(object)
	}
	delete(shown, "undeclared")
	// The header is compared as one more property.
	const retryAfter = "retry_after"
	want[retryAfter], shown[retryAfter] = nil, nil
	if s.Answer.RetryAfter != "" {
		want[retryAfter] = s.Answer.RetryAfter
	}
	if got.RetryAfter != "" {
		shown[retryAfter] = got.RetryAfter
	}
	return compare(want, shown, lacks)
}

// compare compares property by property; one that is absent is null.
func compare(want, shown map[string]any, lacks []string) (missing []string, err error) {
	all := maps.Clone(want)
	maps.Copy(all, shown)
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		w, g := normal(name, want[name]), normal(name, shown[name])
		if slices.Contains(lacks, name) {
			if g != nil {
				problems = append(problems, fmt.Errorf("%s is %v, but client.json says that the client lacks it", name, g))
			} else if w != nil {
				missing = append(missing, name)
			}
			continue
		}
		if w == anyDate {
			if text, ok := g.(string); ok && isDate(text) {
				continue
			}
		}
		if !reflect.DeepEqual(w, g) {
			problems = append(problems, fmt.Errorf("%s is %v, want %v", name, g, w))
		}
	}
	return missing, errors.Join(problems...)
}

// normal takes away what may differ: a number is its text, a date its instant, and a null inside an
// object is not there.
func normal(name string, v any) any {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		if !strings.HasSuffix(name, "_on") && !strings.HasSuffix(name, "_at") {
			return v
		}
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
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

func isDate(text string) bool {
	_, err := time.Parse(time.RFC3339Nano, text)
	return err == nil
}
