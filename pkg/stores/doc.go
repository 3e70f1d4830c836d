// Package stores tests the stores of package renew on real engines: PostgreSQL, MariaDB, SQLite and a Kubernetes API
// server with etcd. It has only tests, and the examples that they run. `make stores` installs the engines and runs the
// tests, which start and stop the engines.
package stores
