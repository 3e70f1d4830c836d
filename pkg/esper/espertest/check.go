package espertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
)

// checkRequest returns an error if the request breaks the description.
func (s *spec) checkRequest(c call) error {
	switch {
	case c.route == nil:
		return fmt.Errorf("%s: %s", c.name, c.problem)
	case c.queryErr != nil:
		return fmt.Errorf("%s: the query is not well-formed", c.name)
	case len(c.body) > 0 && c.route.Operation.RequestBody == nil:
		return fmt.Errorf("%s: the request has a body, the operation has none", c.name)
	}
	if err := openapi3filter.ValidateRequest(context.Background(), validationInput(c)); err != nil {
		return fmt.Errorf("%s: %s", c.name, explain(err))
	}
	return nil
}

// checkAnswer returns an error if an answer that this server made breaks the description. An answer to a request for an
// unknown operation is not checked, since the description has none.
func (s *spec) checkAnswer(c call, a answer) error {
	if c.route == nil {
		return nil
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: validationInput(c),
		Status:                 a.status,
		Header:                 a.header,
		Body:                   io.NopCloser(bytes.NewReader(a.body)),
		Options:                validationOptions(),
	})
	if err != nil {
		return fmt.Errorf("%s: own answer %d: %s", c.name, a.status, explain(err))
	}
	return nil
}

func validationInput(c call) *openapi3filter.RequestValidationInput {
	return &openapi3filter.RequestValidationInput{
		Request:     c.request,
		PathParams:  c.params,
		QueryParams: c.query,
		Route:       c.route,
		Options:     validationOptions(),
	}
}

func validationOptions() *openapi3filter.Options {
	return &openapi3filter.Options{
		AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc, // a missing key is no violation: the answer is 401
		IncludeResponseStatus: true,
		SkipSettingDefaults:   true,
		SchemaValidationOptions: []openapi3.SchemaValidationOption{
			openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(validUUID)),
		},
	}
}

func validUUID(s string) error {
	if len(s) != len(uuid.Nil.String()) { // package uuid accepts other notations too
		return errors.New("not a UUID")
	}
	return uuid.Validate(s)
}

// explain says what a kin-openapi error means in words of the description. The text of the error itself quotes values,
// and a value may be a key.
func explain(err error) string {
	var where string
	var request *openapi3filter.RequestError
	var schema *openapi3.SchemaError
	if errors.As(err, &request) && request.Parameter != nil {
		where = fmt.Sprintf("%s parameter %s ", request.Parameter.In, request.Parameter.Name)
	}
	switch {
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return where + "is missing"
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return where + "is empty"
	case !errors.As(err, &schema):
		return where + "cannot be read"
	}
	if where == "" {
		where = "/" + strings.Join(schema.JSONPointer(), "/") + " "
	}
	rule := schema.SchemaField
	if rule == "format" {
		rule += " " + schema.Schema.Format
	}
	return where + "breaks the schema's " + rule
}
