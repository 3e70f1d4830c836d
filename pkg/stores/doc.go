// Package stores tries the stores of package renew on real engines: PostgreSQL, MariaDB, SQLite and a
// Kubernetes API server with etcd. It has nothing but tests. `make stores` installs what they need, and
// starts and stops it.
package stores
