// Package faults tests the client against faults of the network and of the server. Its tests put
// toxiproxy between a client and its server, or use a server that misbehaves, and compare the results
// with ../esper/FAULTS.md, which they can write. The program in soak makes random faults for minutes.
// The package is a module of its own, so that programs that import the client need none of its
// dependencies.
package faults
