// Program of the ogen client: a command a line in, an answer a line out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"

	"ogenclient/client"
)

// timeout bounds a call.
const timeout = 20 * time.Second

type command struct {
	Operation      string    `json:"operation"`
	URL            string    `json:"url"`
	Key            string    `json:"key"`
	EnterpriseID   uuid.UUID `json:"enterprise_id"`
	DeveloperAppID uuid.UUID `json:"developerapp_id"`
}

type answer struct {
	Status     int            `json:"status"`
	Value      any            `json:"value,omitempty"`
	Error      json.Marshaler `json:"error,omitempty"`
	RetryAfter string         `json:"retry_after,omitempty"`
	Failure    string         `json:"failure,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	commands, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var c command
		if err := commands.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := call(c)
		if unexpected := (*client.UnexpectedStatusCode)(nil); errors.As(err, &unexpected) { // a status that is not described
			a = answer{Status: unexpected.StatusCode, Error: &unexpected.Response}
		} else if err != nil {
			a = answer{Failure: err.Error()}
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// bearer gives the client its key.
type bearer string

func (b bearer) ApiKey(context.Context, client.OperationName) (client.ApiKey, error) {
	return client.ApiKey{Token: string(b)}, nil
}

func call(c command) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	api, err := client.NewClient(c.URL, bearer(c.Key))
	if err != nil {
		return answer{}, err
	}
	switch c.Operation {
	case "getTokenInfo":
		res, err := api.GetTokenInfo(ctx)
		if err != nil {
			return answer{}, err
		}
		return show(res)
	case "renewToken":
		res, err := api.RenewToken(ctx, client.RenewTokenParams{
			EnterpriseID:   c.EnterpriseID,
			DeveloperappID: c.DeveloperAppID,
			AccessToken:    c.Key,
		})
		if err != nil {
			return answer{}, err
		}
		return show(res)
	}
	return answer{}, fmt.Errorf("no such operation: %q", c.Operation)
}

// show writes down what was decoded; the type stands for the status.
func show(res any) (answer, error) {
	switch r := res.(type) {
	case *client.TokenInfoV1:
		value, err := withDates(r, map[string]client.OptNilDateTime{
			"expires_on": r.ExpiresOn, "created_on": r.CreatedOn, "updated_on": r.UpdatedOn,
		})
		return answer{Status: http.StatusOK, Value: value}, err
	case *client.TokenRenewV0:
		value, err := withDates(r, map[string]client.OptNilDateTime{
			"expires_at": r.ExpiresAt, "created_on": r.CreatedOn, "updated_on": r.UpdatedOn,
		})
		return answer{Status: http.StatusCreated, Value: value}, err
	case *client.TooManyRequestsHeaders:
		return answer{Status: http.StatusTooManyRequests, Error: &r.Response, RetryAfter: r.RetryAfter.Value}, nil
	case *client.GetTokenInfoBadRequest:
		return answer{Status: http.StatusBadRequest, Error: r}, nil
	case *client.RenewTokenBadRequest:
		return answer{Status: http.StatusBadRequest, Error: r}, nil
	case *client.GetTokenInfoUnauthorized:
		return answer{Status: http.StatusUnauthorized, Error: r}, nil
	case *client.RenewTokenUnauthorized:
		return answer{Status: http.StatusUnauthorized, Error: r}, nil
	case *client.GetTokenInfoForbidden:
		return answer{Status: http.StatusForbidden, Error: r}, nil
	case *client.RenewTokenForbidden:
		return answer{Status: http.StatusForbidden, Error: r}, nil
	case *client.GetTokenInfoNotFound:
		return answer{Status: http.StatusNotFound, Error: r}, nil
	case *client.RenewTokenNotFound:
		return answer{Status: http.StatusNotFound, Error: r}, nil
	case *client.GetTokenInfoInternalServerError:
		return answer{Status: http.StatusInternalServerError, Error: r}, nil
	case *client.RenewTokenInternalServerError:
		return answer{Status: http.StatusInternalServerError, Error: r}, nil
	}
	return answer{}, fmt.Errorf("an answer of type %T", res)
}

// withDates writes v as JSON with the dates as they were decoded: ogen's own encoder leaves out what is
// below a second.
func withDates(v json.Marshaler, dates map[string]client.OptNilDateTime) (map[string]any, error) {
	b, err := v.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, err
	}
	for name, date := range dates {
		if value, ok := date.Get(); ok {
			object[name] = value
		}
	}
	return object, nil
}
