// Package faults tests the client against faults of the network and of the server. TestMatrix calls a
// server that misbehaves, over TCP, and compares what a caller gets with ../esper/FAULTS.md, whose table it
// can write. With the build tag machines, and root, tests put whole processes on machines of their own
// (network namespaces), cut the network between them, and set their clocks.
//
// The package is a module of its own, so that programs that import the client need none of its
// dependencies.
package faults
