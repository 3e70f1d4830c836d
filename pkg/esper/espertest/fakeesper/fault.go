package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
)

// fault is the value of the flag -fail: the arguments for espertest.Server.Fail.
type fault struct {
	espertest.Fault
	times int
}

// parse reads the JSON of the flag. It refuses unknown names, so that a misspelt one is noticed.
func (f *fault) parse(text string) error {
	in := struct {
		Times   int
		Status  *int
		Header  http.Header
		Body    string
		Delay   *string
		Reset   *string
		Handled bool
	}{Times: -1}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	f.times = in.Times
	f.Fault = espertest.Fault{Header: in.Header, Body: in.Body, Handled: in.Handled}
	if in.Status != nil {
		if *in.Status < http.StatusOK || *in.Status > 999 {
			return fmt.Errorf("status is %d, want 200 to 999", *in.Status)
		}
		f.Status = *in.Status
	}
	if in.Delay != nil {
		d, err := time.ParseDuration(*in.Delay)
		if err != nil || d < 0 {
			return fmt.Errorf("delay is %q, want a duration such as 1.5s", *in.Delay)
		}
		f.Delay = d
	}
	if in.Reset != nil {
		switch *in.Reset {
		case "before-header":
			f.Reset = espertest.BeforeHeader
		case "in-body":
			f.Reset = espertest.InBody
		default:
			return fmt.Errorf("reset is %q, want before-header or in-body", *in.Reset)
		}
	}
	return nil
}
