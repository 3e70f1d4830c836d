// Package policy decides when a key is renewed, saved, checked or given up. It does nothing: there is no
// I/O, no clock and no randomness in it, so that a test can explore every order of events.
//
// Package renew carries out what Decide says, one action at a time, and tells Evolve how that ended.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/esper-go/esper-go/pkg/wire"
)

// Document is what the store keeps of a key. Documents are compared with ==.
type Document struct {
	Key          wire.Secret // zero: the store is empty
	Lineage      string      // random, new with each key that a person gives
	Serial       int         // 1 for that key, one more with each renewal
	Predecessors string      // Hash of each key that led to this one, the newest first, separated by spaces
	Initial      string      // Hash of the key that the lineage began with

	EnterpriseID, DeveloperAppID string

	IssuedAt  time.Time
	ExpiresAt time.Time // zero: the server did not tell
	RenewedAt time.Time // when this key was made by a renewal; zero for a key that a person gave

	RefusedAt time.Time   // when the server refused the key first; zero if it accepted the key at the last check
	Attempt   Attempt     // a renewal of this key that was begun; zero if there is none
	Answer    wire.Secret // the answer to a renewal that no key could be read from, which may hold the next one
}

// Attempt is a renewal that somebody has begun. While it is in the store, it is the lease: nobody else
// begins one.
type Attempt struct {
	ID    string    // of this attempt alone; begins with State.Me of its process
	Host  string    // for the person who reads the document
	PID   int       // likewise
	Begun time.Time // by the clock of its process
	Until time.Time // by then the renewal has been answered, or will not be
}

// length is how long the attempt may be under way. What a document says is not trusted beyond the
// longest that this package writes.
func (a Attempt) length() time.Duration {
	if d := a.Until.Sub(a.Begun); d > 0 && d < longestAttempt {
		return d
	}
	return longestAttempt
}

const maxPredecessors = 32

// Hash is a short hash of a key, for telling keys apart without holding them. It cannot be turned back:
// a key has more random bits than can be tried.
func Hash(key wire.Secret) string {
	sum := sha256.Sum256([]byte("esper key " + key.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// Replaced reports whether key is one of those that led to d's key.
func (d Document) Replaced(key wire.Secret) bool {
	return d.Predecessors != "" && strings.Contains(d.Predecessors, Hash(key))
}

// successor makes the document of the key that a renewal of d's key gave.
func (d Document) successor(next Document) Document {
	before := strings.Fields(Hash(d.Key) + " " + d.Predecessors)
	next.Lineage, next.Serial, next.Initial = d.Lineage, d.Serial+1, d.Initial
	next.Predecessors = strings.Join(before[:min(len(before), maxPredecessors)], " ")
	next.EnterpriseID, next.DeveloperAppID = d.EnterpriseID, d.DeveloperAppID
	return next
}

// merge brings three versions of the document of one key together: what the store has changed since it
// was base counts, and what only we have changed stays.
func merge(base, ours, theirs Document) Document {
	merged := theirs
	if theirs.Attempt == base.Attempt {
		merged.Attempt = ours.Attempt
	}
	if theirs.RefusedAt.Equal(base.RefusedAt) {
		merged.RefusedAt = ours.RefusedAt
	}
	if theirs.Answer == base.Answer {
		merged.Answer = ours.Answer
	}
	if theirs.ExpiresAt.Equal(base.ExpiresAt) && theirs.IssuedAt.Equal(base.IssuedAt) {
		merged.IssuedAt, merged.ExpiresAt = ours.IssuedAt, ours.ExpiresAt
	}
	return merged
}

// Normal puts a list of hashes into the form that Document.Predecessors has.
func Normal(predecessors []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(predecessors), func(s string) bool { return s == "" }), " ")
}
