// Package faults shows how the client behaves on a bad day. Its tests put toxiproxy and servers that
// misbehave between a client and its server and write what they find into ../esper/FAULTS.md; the
// program in soak keeps up random faults for minutes. It is a module of its own, so that none of
// what it needs reaches those who import the client.
package faults
