package renew

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
)

const (
	documentFormat  = "esper-go key"
	documentVersion = 1
)

// document is what a Store keeps. It is never printed: the key stands in it as it is.
type document struct {
	Format         string    `json:"format"`
	Version        int       `json:"version"`
	Server         string    `json:"server"` // base URL that the key belongs to
	Key            string    `json:"key"`
	EnterpriseID   string    `json:"enterprise_id"`
	DeveloperAppID string    `json:"developer_app_id"`
	IssuedAt       time.Time `json:"issued_at,omitzero"`
	ExpiresAt      time.Time `json:"expires_at,omitzero"`
	RenewedAt      time.Time `json:"renewed_at,omitzero"`
	Attempt        *attempt  `json:"attempt,omitempty"` // the journal: a renewal of Key whose end is not known
}

// attempt is a renewal that was begun.
type attempt struct {
	StartedAt time.Time `json:"started_at"`
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	// The answer that could not be read, which may hold the new key: as text where it is text.
	Answer       string `json:"answer,omitempty"`
	AnswerBase64 []byte `json:"answer_base64,omitempty"`
}

func newAttempt() *attempt {
	host, _ := os.Hostname() // only for the person who reads the journal
	return &attempt{StartedAt: wallClock(), Host: host, PID: os.Getpid()}
}

func (a *attempt) keep(answer []byte) {
	if utf8.Valid(answer) {
		a.Answer = string(answer)
	} else {
		a.AnswerBase64 = answer
	}
}

func (d document) encode() ([]byte, error) {
	d.Format, d.Version = documentFormat, documentVersion
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a person may have to copy the key
	enc.SetIndent("", "  ")
	err := enc.Encode(d)
	return b.Bytes(), err
}

// decode reads what a store holds. Its errors quote nothing of it.
func decode(data []byte, server string) (document, error) {
	var d document
	switch err := json.Unmarshal(data, &d); {
	case len(bytes.TrimSpace(data)) == 0:
		return d, errors.New("it is empty; restore it, or remove it to start with WithInitialToken")
	case d.Format == documentFormat && d.Version > documentVersion: // whatever else is in it
		return d, fmt.Errorf("it has format version %d, and this program knows only %d; update the program", d.Version, documentVersion)
	case err != nil:
		return d, errors.New("it is no key document, or damaged; restore it, or move it away to start with WithInitialToken")
	case d.Format != documentFormat:
		return d, errors.New("it is not a key document of this package")
	case d.Version != documentVersion:
		return d, fmt.Errorf("it has format version %d, which never was", d.Version)
	case d.Server != server:
		return d, fmt.Errorf("its key belongs to %s, not to %s", d.Server, server)
	case d.Key == "":
		return d, errors.New("it holds no key")
	}
	return d, nil
}

// learn takes over what the server says of a key. A server that does not say when the key ends
// gets an end assumed: no key lives for ever.
func (d *document) learn(info *esper.TokenInfo) {
	if info.Enterprise.ID != "" && info.DeveloperApp.ID != "" {
		d.EnterpriseID, d.DeveloperAppID = info.Enterprise.ID, info.DeveloperApp.ID
	}
	now := wallClock()
	d.IssuedAt, d.ExpiresAt = info.CreatedOn.Time, info.ExpiresAt.Time
	if d.ExpiresAt.IsZero() {
		d.IssuedAt, d.ExpiresAt = now, now.Add(assumedLifetime)
	}
	if d.IssuedAt.IsZero() || !d.IssuedAt.Before(d.ExpiresAt) {
		d.IssuedAt = now
	}
}

// renewed makes d the document of the key that the server has just made.
func (d *document) renewed(answer *esper.RenewedToken) {
	now := wallClock()
	d.Attempt, d.Key, d.RenewedAt = nil, answer.Token.Reveal(), now
	d.IssuedAt, d.ExpiresAt = answer.CreatedOn.Time, answer.ExpiresAt.Time
	if now.Sub(d.IssuedAt).Abs() > skew { // created_on is not the time of the renewal
		d.IssuedAt = now
	}
}

// wallClock is the time without the monotonic reading, which stands still while a machine sleeps.
func wallClock() time.Time { return time.Now().UTC().Round(0) }
