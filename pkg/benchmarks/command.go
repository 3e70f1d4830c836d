package main

import "context"

// command writes down the size of the command's binary. It was measured by hand, with programs that link one part more each,
// on linux/amd64 as dist.sh builds it (-trimpath -ldflags=-s).
func (b *bench) command(context.Context) error {
	b.table("The size of esper-key", "A released binary has 36.4 MB (52 MB with the symbols that `go build` leaves in). `esper-key token` takes 12 ms from its start\n"+
		"to its end, with a store in a file (`go test -bench Token` in pkg/cmd/esper-key). What each part adds to the binary:",
		[]string{"part", "MB"},
		[]string{"esper, renew, cobra, and of Go net/http, crypto/tls and the run time", "7.6"},
		[]string{"PostgreSQL: pgx", "4.2"},
		[]string{"MySQL and MariaDB: go-sql-driver", "0.4"},
		[]string{"SQLite: modernc.org/sqlite, which needs no C", "4.0"},
		[]string{"Prometheus: client_golang", "2.4"},
		[]string{"Kubernetes: client-go, 12 of them the types of all API groups", "19.2"},
	)
	b.tables.WriteString("\nWeighed, and left: client-go's REST client with the types of core/v1 alone would save 12 MB, but `kubestore.New` takes client-go's\n" +
		"own interface of Secrets, which users have and can fake, and that links every API group. A Secret could be read over plain HTTP, but\n" +
		"not with a KUBECONFIG that starts a program for its token. A binary for each store would be 8 to 27 MB, and one more choice for operators.\n")
	return nil
}
