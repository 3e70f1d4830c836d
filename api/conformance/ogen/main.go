// Runs the ogen client: it reads a command from each line of input, calls the API, and prints a line with the answer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"time"

	"github.com/google/uuid"

	"ogenclient/client"
)

type command struct {
	Operation      string    `json:"operation"`
	URL            string    `json:"url"`
	Key            string    `json:"key"`
	EnterpriseID   uuid.UUID `json:"enterprise_id"`
	DeveloperAppID uuid.UUID `json:"developerapp_id"`
	TokenID        uuid.UUID `json:"token_id"`
	ExpiryAt       int64     `json:"expiry_at"`
	Timeout        int       `json:"timeout"`
	InfoFirst      bool      `json:"info_first"`
}

type answer struct {
	Status     int            `json:"status"`
	Value      map[string]any `json:"value,omitzero"`
	Error      map[string]any `json:"error,omitzero"`
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
		if err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Timeout)*time.Second)
	defer cancel()
	var head head
	// snippet
	api, err := client.NewClient(c.URL, bearer(c.Key), client.WithClient(&head))
	if err != nil {
		return answer{}, err
	}
	if c.InfoFirst {
		_, _ = api.GetTokenInfo(ctx)
	}
	var res any
	switch c.Operation {
	case "getTokenInfo":
		res, err = api.GetTokenInfo(ctx)
	case "renewToken":
		res, err = api.RenewToken(ctx, client.RenewTokenParams{
			EnterpriseID:   c.EnterpriseID,
			DeveloperappID: c.DeveloperAppID,
			AccessToken:    c.Key,
			// end of snippet
		})
	case "listPersonalAccessTokens":
		res, err = api.ListPersonalAccessTokens(ctx)
	case "renewPersonalAccessToken":
		res, err = api.RenewPersonalAccessToken(ctx, &client.PersonalAccessTokenRenewal{ExpiryAt: c.ExpiryAt},
			client.RenewPersonalAccessTokenParams{PersonalAccessTokenID: c.TokenID})
	default:
		err = fmt.Errorf("no such operation: %q", c.Operation)
	}
	if err != nil {
		return answer{Status: head.status, RetryAfter: head.retryAfter, Failure: err.Error()}, nil
	}
	a := show(res)
	a.Status, a.RetryAfter = head.status, head.retryAfter
	return a, nil
}

// head keeps the status and the Retry-After of an answer, since ogen has another type for the answer of each status.
type head struct {
	status     int
	retryAfter string
}

func (h *head) Do(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		h.status, h.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
	}
	return res, err
}

// show turns what ogen decoded into an answer. It does not use ogen's own encoder, which leaves out fractions of a
// second, and writes nothing in place of an absent value without a type.
func show(res any) answer {
	v := reflect.ValueOf(res).Elem()
	switch {
	case v.Type().ConvertibleTo(reflect.TypeFor[client.TokenInfoV1]()):
		r := v.Convert(reflect.TypeFor[client.TokenInfoV1]()).Interface().(client.TokenInfoV1)
		value := map[string]any{"enterprise": r.Enterprise}
		anything(value, map[string][]byte{"id": r.ID, "user": r.User, "source_refresh_token": r.SourceRefreshToken})
		optional(value, "developer_app", r.DeveloperApp.Get)
		optional(value, "token", r.Token.Get)
		optional(value, "expires_on", r.ExpiresOn.Get)
		optional(value, "scope", r.Scope.Get)
		optional(value, "created_on", r.CreatedOn.Get)
		optional(value, "updated_on", r.UpdatedOn.Get)
		return answer{Value: value}
	case v.Type().ConvertibleTo(reflect.TypeFor[client.TokenRenewV0]()):
		r := v.Convert(reflect.TypeFor[client.TokenRenewV0]()).Interface().(client.TokenRenewV0)
		value := map[string]any{"token": r.Token}
		anything(value, map[string][]byte{"id": r.ID, "user": r.User})
		optional(value, "enterprise", r.Enterprise.Get)
		optional(value, "developerapp", r.Developerapp.Get)
		optional(value, "expires_at", r.ExpiresAt.Get)
		optional(value, "scope", r.Scope.Get)
		optional(value, "created_on", r.CreatedOn.Get)
		optional(value, "updated_on", r.UpdatedOn.Get)
		return answer{Value: value}
	case v.Type().ConvertibleTo(reflect.TypeFor[client.PersonalAccessTokenList]()):
		r := v.Convert(reflect.TypeFor[client.PersonalAccessTokenList]()).Interface().(client.PersonalAccessTokenList)
		value := map[string]any{}
		optional(value, "count", r.Count.Get)
		if tokens, ok := r.PersonalAccessTokens.Get(); ok {
			list := []any{}
			for _, token := range tokens {
				list = append(list, personal(token))
			}
			value["personal_access_tokens"] = list
		}
		return answer{Value: value}
	case v.Type().ConvertibleTo(reflect.TypeFor[client.PersonalAccessToken]()):
		return answer{Value: personal(v.Convert(reflect.TypeFor[client.PersonalAccessToken]()).Interface().(client.PersonalAccessToken))}
	case v.Type().ConvertibleTo(reflect.TypeFor[client.ErrorResponse]()):
		return failed(v.Convert(reflect.TypeFor[client.ErrorResponse]()).Interface().(client.ErrorResponse))
	}
	if limited, ok := res.(*client.TooManyRequestsHeaders); ok {
		return failed(limited.Response)
	}
	return answer{} // a status without content
}

func personal(t client.PersonalAccessToken) map[string]any {
	value := map[string]any{}
	anything(value, map[string][]byte{"created_at": t.CreatedAt, "updated_at": t.UpdatedAt, "expiry_at": t.ExpiryAt, "legacy_token_id": t.LegacyTokenID})
	optional(value, "id", t.ID.Get)
	optional(value, "name", t.Name.Get)
	optional(value, "description", t.Description.Get)
	optional(value, "prefix", t.Prefix.Get)
	optional(value, "token", t.Token.Get)
	optional(value, "legacy_developer_app_id", t.LegacyDeveloperAppID.Get)
	return value
}

func failed(e client.ErrorResponse) answer {
	value := map[string]any{}
	anything(value, map[string][]byte{"errors": e.Errors, "status": e.Status})
	optional(value, "message", e.Message.Get)
	optional(value, "detail", e.Detail.Get)
	return answer{Error: value}
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
