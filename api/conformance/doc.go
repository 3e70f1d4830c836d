// Package conformance has clients in other languages, generated from api/openapi.yaml, and a test that lets each of
// them call the fake server. README.md says how to run it and how to add a client.
package conformance
