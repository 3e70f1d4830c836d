package renew

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/internal/origin"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/policy"
	"github.com/esper-go/esper-go/pkg/esper/renew/internal/ways"
)

const (
	documentFormat  = "esper-go key"
	documentVersion = 2
)

// document is what a Store keeps, as JSON. The package documentation describes each field.
type document struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Server  string `json:"server"`
	Key     string `json:"key"`
	policy.Document
	Predecessors []string  `json:"predecessor_hashes,omitempty"`
	Answer       string    `json:"answer,omitempty"`
	AnswerBase64 string    `json:"answer_base64,omitempty"`
	SetAside     []string  `json:"set_aside,omitempty"`
	SavedAt      time.Time `json:"saved_at,omitzero"`
	SavedBy      string    `json:"saved_by,omitempty"`
}

// tidy makes the times fit for JSON, and for package policy, which compares them.
func (d *document) tidy() {
	for _, t := range []*time.Time{
		&d.IssuedAt, &d.ExpiresAt, &d.RenewedAt, &d.RefusedAt, &d.LostAt, &d.Attempt.Begun, &d.Attempt.Until,
	} {
		*t = ways.Fits(*t)
	}
}

// encode makes the document that is stored.
func encode(d policy.Document, server string, now time.Time) ([]byte, error) {
	out := document{
		Format: documentFormat, Version: documentVersion, Server: server, Key: d.Key.Reveal(), Document: d,
		Predecessors: strings.Fields(d.Predecessors), SetAside: d.Aside(), SavedAt: now.UTC().Truncate(time.Second), SavedBy: hostname(),
	}
	out.tidy()
	// Base64 if the answer is not UTF-8, or if JSON's escapes would make it longer than base64 does.
	answer := d.Answer.Reveal()
	if escaped, err := toJSON(answer); err == nil && utf8.ValidString(answer) && len(escaped) <= base64.StdEncoding.EncodedLen(len(answer))+3 {
		out.Answer = answer
	} else {
		out.AnswerBase64 = base64.StdEncoding.EncodeToString([]byte(answer))
	}
	return toJSON(out)
}

func toJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a person may have to copy the key
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// content is a decoded document, with the time of its save and the host that saved it.
type content struct {
	policy.Document
	savedAt time.Time
	savedBy string
}

// decode reads the document of a store. Of the document, its errors quote only the server and the version.
func decode(data []byte, server string) (content, error) {
	var d document
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	err := json.Unmarshal(data, &d)
	answer, answerErr := base64.StdEncoding.DecodeString(d.AnswerBase64)
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return content{}, errors.New("it is empty; restore it, or remove it and give a key anew (WithInitialToken, esper-key adopt)")
	case d.Format == documentFormat && d.Version > documentVersion: // even if the rest cannot be read
		return content{}, fmt.Errorf("it has format version %d, and this program knows only %d; update the program", d.Version, documentVersion)
	case err != nil || answerErr != nil || d.Format != documentFormat || d.Version != documentVersion:
		return content{}, errors.New("it is no key document of this package, or damaged; restore it, or move it away and give a key anew (WithInitialToken, esper-key adopt)")
	case strings.TrimRight(d.Server, "/") != server:
		return content{}, fmt.Errorf("its key belongs to %.100q, not to %s; each server needs a store of its own", d.Server, server)
	}
	if advice := origin.BadKey(d.Key); advice != "" { // as the client judges the key in an answer
		return content{}, fmt.Errorf("the key in it cannot be sent; mend or remove it: the key %s", advice)
	}
	d.tidy()
	out := d.Document
	out.Key, out.Predecessors, out.SetAside = esper.NewSecret(d.Key), strings.Join(d.Predecessors, " "), policy.AsideOf(d.SetAside)
	out.Answer = esper.NewSecret(d.Answer + string(answer)) // at most one of the two is set
	return content{out, d.SavedAt, d.SavedBy}, nil
}

// plain returns t as package policy compares times: in UTC, and without the monotonic reading.
func plain(t time.Time) time.Time { return t.UTC().Round(0) }

func hostname() string {
	host, _ := os.Hostname() // for a person who reads the document, and for Open: see proofLasts
	return host
}
