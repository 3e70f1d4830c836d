//go:build !linux

package faults

import "testing"

// fullBacklog uses a dial that never ends instead of a full queue: only Linux drops attempts to connect
// when the queue is full.
func fullBacklog(t *testing.T) *stage { return slowDial(t) }
