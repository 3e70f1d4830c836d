package espertest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// accessToken is the query parameter with the key to renew.
const accessToken = "access_token"

const (
	timeLayout = "2006-01-02T15:04:05.000000Z" // how Django writes a moment in UTC
	user       = "bindya"
	scopes     = "read write update introspection sdk register"
	noExpiry   = -1 // the expiry_at of a key without an end
)

// never is the end of a key without one.
func never() time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// answer is what the server sends if no fault changes it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// answer does what the request for an operation asks for, and returns the normal answer.
func (s *Server) answer(c call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.validKey(c.bearer)
	if !ok {
		return unauthorized()
	}
	switch c.id {
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

// tokenInfo is schema TokenInfoV1 as the server fills it.
func (s *Server) tokenInfo(token string, k key) object {
	return object{
		"id", strconv.Itoa(k.id), "enterprise", s.EnterpriseID, "user", user, "developer_app", s.DeveloperAppID,
		"source_refresh_token", nil, "token", token, "expires_on", k.expires.Format(timeLayout),
		"scope", strings.Fields(scopes),
		"created_on", k.created.Format(timeLayout), "updated_on", k.created.Format(timeLayout),
	}
}

// renew makes a new key, and answers with schema TokenRenewV0 as the server fills it. The caller holds mu.
func (s *Server) renew(c call) answer {
	if !strings.EqualFold(c.request.PathValue("enterprise_id"), s.EnterpriseID) ||
		!strings.EqualFold(c.request.PathValue("developerapp_id"), s.DeveloperAppID) {
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
	return encode(c.success(), object{
		"id", k.id, "user", user, "enterprise", "Esper [" + s.EnterpriseID + "]",
		"developerapp", "DeveloperApp object (" + s.DeveloperAppID + ")",
		"token", k.token.key, "expires_at", k.expires.Format(timeLayout), "scope", scopes,
		"created_on", k.created.Format(timeLayout), "updated_on", k.created.Format(timeLayout),
	})
}

// listTokens lists the personal access tokens that have a key. The caller holds mu.
func (s *Server) listTokens(c call) answer {
	list := []object{}
	for _, t := range s.tokens {
		if k, ok := s.keys[t.key]; ok {
			list = append(list, s.personalToken(k))
		}
	}
	return encode(c.success(), object{"count", len(list), "personal_access_tokens", list})
}

// personalToken is schema PersonalAccessToken, as Esper declares it. No answer of the real server has been seen.
func (s *Server) personalToken(k key) object {
	t, expiry := k.token, k.expires.Unix()
	if k.expires.Equal(never()) {
		expiry = noExpiry
	}
	return object{
		"id", t.id, "name", t.name, "description", "", "prefix", t.key[:min(8, len(t.key))], "token", t.key,
		"created_at", t.created.Format(timeLayout), "updated_at", k.created.Format(timeLayout),
		"expiry_at", expiry, "legacy_token_id", k.id, "legacy_developer_app_id", s.DeveloperAppID,
	}
}

// renewPersonalToken gives a personal access token another key. The caller holds mu.
func (s *Server) renewPersonalToken(c call) answer {
	for _, t := range s.tokens {
		old, ok := s.keys[t.key]
		if !ok || !strings.EqualFold(t.id, c.request.PathValue("personal_access_token_id")) {
			continue
		}
		expires, problem := wantedEnd(c.body)
		if problem != "" {
			return refusal(http.StatusBadRequest, problem)
		}
		return encode(c.success(), s.personalToken(s.replaceKey(old.token, expires)))
	}
	return refusal(http.StatusNotFound, "detail: Not found.")
}

// wantedEnd reads when a new key is to end, or says what is wrong with the body.
func wantedEnd(body []byte) (end time.Time, problem string) {
	var wanted map[string]json.RawMessage
	err := json.Unmarshal(body, &wanted)
	text := string(wanted["expiry_at"])
	seconds, notInteger := strconv.ParseInt(text, 10, 64)
	switch end = time.Unix(seconds, 0).UTC(); {
	case err != nil:
		problem = "The body is no JSON object."
	case text == "" || text == "null":
		problem = "expiry_at: This field is required."
	case notInteger != nil:
		problem = "expiry_at: Want a whole number of seconds since 1970, or -1 for never."
	case seconds == noExpiry:
		end = never()
	case !end.After(time.Now()):
		problem = "expiry_at: This is not in the future."
	case end.After(never()):
		problem = "expiry_at: This is after the year 9999. The unit is seconds."
	}
	return end, problem
}

func unauthorized() answer {
	return refusal(http.StatusUnauthorized, "Authorization information is missing or invalid.")
}

// refusal is schema ErrorResponse in its documented form. Without a reason, the status says it.
func refusal(status int, reason string) answer {
	if reason == "" {
		reason = http.StatusText(status)
	}
	return encode(status, object{"errors", []string{reason}, "message", http.StatusText(status), "status", status})
}

// object is a JSON object: a name, its value, the next name, in the order of the real server.
type object []any

func (o object) MarshalJSON() ([]byte, error) {
	var b []byte
	for i, v := range o {
		text, _ := json.Marshal(v) // strings, numbers, and lists of them always encode
		b = append(append(b, ",:"[i%2]), text...)
	}
	b[0] = '{'
	return append(b, '}'), nil
}

func encode(status int, o object) answer {
	body, _ := o.MarshalJSON() // never an error
	return answer{status: status, header: jsonHeader(), body: body}
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }
