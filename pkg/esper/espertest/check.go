package espertest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/esper-go/esper-go/api"
)

// loadSpec reads the API's description. base is the path of its server URL, without a trailing slash.
func loadSpec() (doc *openapi3.T, base string, err error) {
	if doc, err = openapi3.NewLoader().LoadFromData(api.Spec); err != nil {
		return nil, "", err
	}
	base, err = doc.Servers.BasePath()
	return doc, strings.TrimSuffix(base, "/"), err
}

// checkRequest returns an error if the request breaks the description.
func checkRequest(c call) error {
	contentType := c.request.Header.Get("Content-Type")
	switch {
	case c.route == nil:
		return fmt.Errorf("%s: %s", c.name, c.problem)
	case c.queryErr != nil:
		return fmt.Errorf("%s: the query is not well-formed", c.name)
	case len(c.body) > 0 && c.route.Operation.RequestBody == nil:
		return fmt.Errorf("%s: the request has a body, the operation has none", c.name)
	case len(c.body) > 0 && c.route.Operation.RequestBody.Value.Content.Get(contentType) == nil:
		return fmt.Errorf("%s: the body's content type is %q, and not application/json", c.name, contentType)
	}
	params := map[string]string{}
	for _, p := range c.route.Operation.Parameters {
		params[p.Value.Name] = c.request.PathValue(p.Value.Name)
	}
	err := openapi3filter.ValidateRequest(context.Background(), &openapi3filter.RequestValidationInput{
		Request: c.request, PathParams: params, QueryParams: c.query, Route: c.route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc, // a missing key gets 401
			SkipSettingDefaults: true,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{openapi3.WithStringFormatValidator("uuid",
				openapi3.NewRegexpFormatValidator("(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"))},
		},
	})
	if err != nil {
		return fmt.Errorf("%s: %s", c.name, explain(err))
	}
	return nil
}

// explain says what a kin-openapi error means in words of the description. The text of the error itself quotes values,
// and a value may be a key.
func explain(err error) string {
	where := "the body"
	var request *openapi3filter.RequestError
	var schema *openapi3.SchemaError
	if errors.As(err, &request) && request.Parameter != nil {
		where = fmt.Sprintf("%s parameter %s", request.Parameter.In, request.Parameter.Name)
	}
	switch {
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return where + " is missing"
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return where + " is empty"
	case !errors.As(err, &schema):
		return where + " cannot be read"
	case where == "the body" && len(schema.JSONPointer()) > 0:
		where += "'s /" + strings.Join(schema.JSONPointer(), "/")
	}
	rule := schema.SchemaField
	if rule == "format" {
		rule += " " + schema.Schema.Format
	}
	return where + " breaks the schema's " + rule
}
