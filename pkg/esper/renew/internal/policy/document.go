// Package policy decides when a key is renewed, saved, checked or given up. It only computes: it has no
// I/O, no clock and no randomness, so that a test can explore every order of events.
//
// Package renew carries out the actions that Decide returns, one at a time, and tells Evolve how each ended.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Document is what the store keeps of a key. Documents are compared with ==. The tags name the fields of the JSON document
// that package renew makes of it.
type Document struct {
	Key     wire.Secret `json:"-"`       // zero: the store is empty
	Lineage string      `json:"lineage"` // random, new with each key that a person gives
	Serial  int         `json:"serial"`  // 1 for a key that a person gives, one more with each renewal
	// Predecessors has the Hash of each key that led to this one, the newest first, separated by spaces.
	Predecessors string `json:"-"`
	Initial      string `json:"initial_key_hash,omitempty"` // Hash of the key that the lineage began with

	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developer_app_id"`

	IssuedAt  time.Time `json:"issued_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: the server did not say
	RenewedAt time.Time `json:"renewed_at,omitzero"` // when a renewal made this key; zero if a person gave it

	RefusedAt time.Time `json:"refused_at,omitzero"` // of the first refusal; zero if the last check found the key working
	LostAt    time.Time `json:"lost_at,omitzero"`    // when the key was given up; zero: it is not lost
	Attempt   Attempt   `json:"attempt,omitzero"`    // a renewal of this key that was begun; zero if there is none
	// Answer is an answer to a renewal from which no key could be read; it may hold the next key.
	Answer wire.Secret `json:"-"`
	// SetAside are other keys that this document replaced and that may work, the newest first; see Aside.
	SetAside wire.Secret `json:"-"`
}

// Attempt is a renewal that a process has begun. While it is in the store, it is a lease: no other process
// begins a renewal.
type Attempt struct {
	ID    string    `json:"id"`             // random
	Host  string    `json:"host,omitempty"` // for the person who reads the document
	PID   int       `json:"pid,omitempty"`  // for that person too
	Begun time.Time `json:"begun_at"`       // by the clock of its process
	Until time.Time `json:"until"`          // the renewal is over at this time, with or without an answer
}

// length is how long the attempt may be under way. If a document says more than longestAttempt, or nothing
// sensible, it is longestAttempt.
func (a Attempt) length() time.Duration {
	if d := a.Until.Sub(a.Begun); d > 0 && d < longestAttempt {
		return d
	}
	return longestAttempt
}

const maxPredecessors, maxAside = 32, 8

// Hash is a short hash of a key, for telling keys apart without holding them. Nobody can find the key from
// it, since a key has more random bits than can be tried.
func Hash(key wire.Secret) string {
	sum := sha256.Sum256([]byte("esper key " + key.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// Replaced reports whether d's key came from key, by one renewal or more.
func (d Document) Replaced(key wire.Secret) bool {
	return d.Predecessors != "" && strings.Contains(d.Predecessors, Hash(key))
}

// after reports whether d's key was made later than that of old: from it, or in the same lineage.
func (d Document) after(old Document) bool {
	return d.Replaced(old.Key) || d.Lineage == old.Lineage && d.Lineage != "" && d.Serial > old.Serial
}

// successor makes the document of the key that a renewal of d's key gave.
func (d Document) successor(next Document) Document {
	before := strings.Fields(Hash(d.Key) + " " + d.Predecessors)
	next.Lineage, next.Serial, next.Initial = d.Lineage, d.Serial+1, d.Initial
	next.Predecessors = strings.Join(before[:min(len(before), maxPredecessors)], " ")
	next.EnterpriseID, next.DeveloperAppID = d.EnterpriseID, d.DeveloperAppID
	next.SetAside = d.SetAside
	return next
}

// Begun makes the document of a key that begins a lineage.
func (d Document) Begun(lineage string) Document {
	d.Lineage, d.Serial, d.Initial = lineage, 1, Hash(d.Key)
	return d
}

// Aside returns the keys that are set aside.
func (d Document) Aside() []string {
	return strings.FieldsFunc(d.SetAside.Reveal(), func(r rune) bool { return r == '\n' })
}

// AsideOf makes Document.SetAside of a list of keys.
func AsideOf(keys []string) wire.Secret { return wire.NewSecret(strings.Join(keys, "\n")) }

// setAside adds to d what is worth keeping of old, which d is to replace: its key, unless renewals have made d's key from
// it and nobody has given it again since; the keys set aside in it; its answer.
func (d Document) setAside(old Document) Document {
	keys := slices.Concat(d.Aside(), old.Aside())
	if !d.Replaced(old.Key) || d.Lineage != old.Lineage {
		keys = slices.Insert(keys, 0, old.Key.Reveal())
	}
	seen := []string{"", d.Key.Reveal()}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		known := slices.Contains(seen, key)
		seen = append(seen, key)
		return known
	})
	d.SetAside = AsideOf(keys[:min(len(keys), maxAside)])
	if d.Answer.IsZero() {
		d.Answer = old.Answer
	}
	return d
}

// unsure notes an attempt that may be under way at now. A key that was set aside needs that: the document that had the
// note of its attempt is gone.
func (d Document) unsure(now time.Time) Document {
	begun := plain(now)
	d.Attempt = Attempt{ID: d.Lineage + begun.Format(" 15:04:05"), Begun: begun, Until: begun.Add(longestAttempt)}
	return d
}
