package espertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// accessToken is the query parameter with the key to renew.
const accessToken = "access_token"

// timeLayout is how Django writes a moment in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

const user = "bindya"

func scopes() []string {
	return []string{"read", "write", "update", "introspection", "sdk", "register"}
}

// answer is what the server sends if no fault changes it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// tokenInfo is schema TokenInfoV1 as the server fills it.
type tokenInfo struct {
	ID                 string   `json:"id"`
	Enterprise         string   `json:"enterprise"`
	User               string   `json:"user"`
	DeveloperApp       string   `json:"developer_app"`
	SourceRefreshToken *string  `json:"source_refresh_token"`
	Token              string   `json:"token"`
	ExpiresOn          string   `json:"expires_on"`
	Scope              []string `json:"scope"`
	CreatedOn          string   `json:"created_on"`
	UpdatedOn          string   `json:"updated_on"`
}

// renewal is schema TokenRenewV0 as the server fills it.
type renewal struct {
	ID           int    `json:"id"`
	User         string `json:"user"`
	Enterprise   string `json:"enterprise"`
	DeveloperApp string `json:"developerapp"`
	Token        string `json:"token"`
	ExpiresAt    string `json:"expires_at"`
	Scope        string `json:"scope"`
	CreatedOn    string `json:"created_on"`
	UpdatedOn    string `json:"updated_on"`
}

// errorEnvelope is schema ErrorResponse in its documented form.
type errorEnvelope struct {
	Errors  []string `json:"errors"`
	Message string   `json:"message"`
	Status  int      `json:"status"`
}

// answer does what the request asks for, and returns the normal answer.
func (s *Server) answer(c call) answer {
	if c.route == nil {
		a := refusal(c.refused, http.StatusText(c.refused))
		if c.allow != "" {
			a.header.Set("Allow", c.allow)
		}
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.validKey(c.bearer)
	if !ok {
		return unauthorized()
	}
	switch c.route.Operation.OperationID {
	case "getTokenInfo":
		return encode(c.success(), s.tokenInfo(c.bearer, k))
	case "renewToken":
		return s.renew(c)
	case "listPersonalAccessTokens":
		return s.listTokens(c)
	case "renewPersonalAccessToken":
		return s.renewPersonalToken(c)
	}
	return refusal(http.StatusNotImplemented, "The fake server does not have this operation.")
}

func (s *Server) tokenInfo(token string, k key) tokenInfo {
	return tokenInfo{
		ID:           strconv.Itoa(k.id),
		Enterprise:   s.EnterpriseID,
		User:         user,
		DeveloperApp: s.DeveloperAppID,
		Token:        token,
		ExpiresOn:    k.expires.Format(timeLayout),
		Scope:        scopes(),
		CreatedOn:    k.created.Format(timeLayout),
		UpdatedOn:    k.created.Format(timeLayout),
	}
}

// renew makes a new key. The caller holds mu.
func (s *Server) renew(c call) answer {
	if !strings.EqualFold(c.params["enterprise_id"], s.EnterpriseID) ||
		!strings.EqualFold(c.params["developerapp_id"], s.DeveloperAppID) {
		return refusal(http.StatusForbidden, "You do not have permission to perform this action.")
	}
	old := c.query[accessToken]
	if c.queryErr != nil || len(old) != 1 || old[0] == "" {
		return refusal(http.StatusBadRequest, accessToken+": This field is required.")
	}
	before, ok := s.validKey(old[0])
	if !ok {
		return refusal(http.StatusBadRequest, "Invalid access token")
	}
	k := s.replaceKey(before.token, time.Now().UTC().Add(s.config.lifetime))
	return encode(c.success(), renewal{
		ID:           k.id,
		User:         user,
		Enterprise:   "Esper [" + s.EnterpriseID + "]",
		DeveloperApp: "DeveloperApp object (" + s.DeveloperAppID + ")",
		Token:        k.token.key,
		ExpiresAt:    k.expires.Format(timeLayout),
		Scope:        strings.Join(scopes(), " "),
		CreatedOn:    k.created.Format(timeLayout),
		UpdatedOn:    k.created.Format(timeLayout),
	})
}

// replaceKey makes a new key for a personal access token. Without KeepOldKey it removes the old one. The caller holds
// mu.
func (s *Server) replaceKey(t *personalToken, expires time.Time) key {
	if !s.config.keepOldKey {
		maps.DeleteFunc(s.keys, func(_ string, k key) bool { return k.token == t })
	}
	s.renewals++
	return s.addKey(fmt.Sprintf("%s-renewed-%d", s.config.token, s.renewals), t, expires)
}

func unauthorized() answer {
	return refusal(http.StatusUnauthorized, "Authorization information is missing or invalid.")
}

func refusal(status int, reason string) answer {
	return encode(status, errorEnvelope{
		Errors:  []string{reason},
		Message: http.StatusText(status),
		Status:  status,
	})
}

func encode(status int, v any) answer {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // as Django writes it
	_ = enc.Encode(v)        // strings and integers always encode
	return answer{status: status, header: jsonHeader(), body: bytes.TrimSpace(body.Bytes())}
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }
