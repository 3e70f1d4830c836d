// Package conformance has clients in other languages, generated from api/openapi.yaml, and a test in which each of them
// calls the fake server. README.md says how to run the test and how to add a client.
package conformance
