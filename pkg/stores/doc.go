// Package stores tests the stores of package renew on real engines: PostgreSQL, MariaDB, MySQL, SQLite and a Kubernetes
// API server with etcd. It has only tests, and the store that the README of package storetest shows. `make stores`
// installs the engines and runs the tests, which start and stop the engines.
package stores
