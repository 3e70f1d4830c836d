//go:build !linux

package faults

import "testing"

// fullBacklog takes a dial that does not end for one that a full queue keeps waiting: only Linux
// drops what comes to a queue that is full.
func fullBacklog(t *testing.T) *stage { return slowDial(t) }
