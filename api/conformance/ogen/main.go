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
	Value      map[string]any `json:"value,omitempty"`
	Error      map[string]any `json:"error,omitempty"`
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
			a = failed(unexpected.StatusCode, unexpected.Response)
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
		return show(res), nil
	case "renewToken":
		res, err := api.RenewToken(ctx, client.RenewTokenParams{
			EnterpriseID:   c.EnterpriseID,
			DeveloperappID: c.DeveloperAppID,
			AccessToken:    c.Key,
		})
		if err != nil {
			return answer{}, err
		}
		return show(res), nil
	}
	return answer{}, fmt.Errorf("no such operation: %q", c.Operation)
}

// show writes down what was decoded; the type stands for the status. ogen's own encoder would leave
// out what is below a second, and write nothing for a value without a type that is not there.
func show(res any) answer {
	switch r := res.(type) {
	case *client.TokenInfoV1:
		value := map[string]any{"enterprise": r.Enterprise}
		anything(value, map[string][]byte{"id": r.ID, "user": r.User, "source_refresh_token": r.SourceRefreshToken})
		optional(value, "developer_app", r.DeveloperApp.Get)
		optional(value, "token", r.Token.Get)
		optional(value, "expires_on", r.ExpiresOn.Get)
		optional(value, "scope", r.Scope.Get)
		optional(value, "created_on", r.CreatedOn.Get)
		optional(value, "updated_on", r.UpdatedOn.Get)
		return answer{Status: http.StatusOK, Value: value}
	case *client.TokenRenewV0:
		value := map[string]any{"token": r.Token}
		anything(value, map[string][]byte{"id": r.ID, "user": r.User})
		optional(value, "enterprise", r.Enterprise.Get)
		optional(value, "developerapp", r.Developerapp.Get)
		optional(value, "expires_at", r.ExpiresAt.Get)
		optional(value, "scope", r.Scope.Get)
		optional(value, "created_on", r.CreatedOn.Get)
		optional(value, "updated_on", r.UpdatedOn.Get)
		return answer{Status: http.StatusCreated, Value: value}
	case *client.TooManyRequestsHeaders:
		a := failed(http.StatusTooManyRequests, r.Response)
		a.RetryAfter = r.RetryAfter.Value
		return a
	case *client.GetTokenInfoBadRequest:
		return failed(http.StatusBadRequest, client.ErrorResponse(*r))
	case *client.RenewTokenBadRequest:
		return failed(http.StatusBadRequest, client.ErrorResponse(*r))
	case *client.GetTokenInfoUnauthorized:
		return failed(http.StatusUnauthorized, client.ErrorResponse(*r))
	case *client.RenewTokenUnauthorized:
		return failed(http.StatusUnauthorized, client.ErrorResponse(*r))
	case *client.GetTokenInfoForbidden:
		return failed(http.StatusForbidden, client.ErrorResponse(*r))
	case *client.RenewTokenForbidden:
		return failed(http.StatusForbidden, client.ErrorResponse(*r))
	case *client.GetTokenInfoNotFound:
		return failed(http.StatusNotFound, client.ErrorResponse(*r))
	case *client.RenewTokenNotFound:
		return failed(http.StatusNotFound, client.ErrorResponse(*r))
	case *client.GetTokenInfoInternalServerError:
		return failed(http.StatusInternalServerError, client.ErrorResponse(*r))
	case *client.RenewTokenInternalServerError:
		return failed(http.StatusInternalServerError, client.ErrorResponse(*r))
	}
	return answer{Failure: fmt.Sprintf("an answer of type %T", res)}
}

func failed(status int, e client.ErrorResponse) answer {
	value := map[string]any{}
	anything(value, map[string][]byte{"errors": e.Errors, "status": e.Status})
	optional(value, "message", e.Message.Get)
	optional(value, "detail", e.Detail.Get)
	return answer{Status: status, Error: value}
}

func optional[T any](value map[string]any, name string, get func() (T, bool)) {
	if v, ok := get(); ok {
		value[name] = v
	}
}

func anything(value map[string]any, parts map[string][]byte) {
	for name, part := range parts {
		if len(part) > 0 {
			value[name] = json.RawMessage(part)
		}
	}
}
