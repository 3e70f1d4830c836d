module github.com/esper-go/esper-go/pkg/benchmarks

go 1.26.0

replace github.com/esper-go/esper-go => ../..

require (
	github.com/esper-go/esper-go v0.0.0-00010101000000-000000000000
	golang.org/x/oauth2 v0.37.0
)

require (
	github.com/apapsch/go-jsonmerge/v2 v2.0.0 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/oapi-codegen/runtime v1.8.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
