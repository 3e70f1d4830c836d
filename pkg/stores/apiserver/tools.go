//go:build tools

// Package apiserver names what `make stores` builds: a Kubernetes API server, to test against.
package apiserver

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
