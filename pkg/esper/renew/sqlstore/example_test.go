package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// This job shares its key with others through PostgreSQL. A program also has to import a driver:
// _ "github.com/jackc/pgx/v5/stdlib" registers itself as "pgx".
func ExampleNew() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	db, err := sql.Open("pgx", "host=db1,db2 dbname=ops target_session_attrs=read-write")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close() //nolint:errcheck // nothing is lost with the connections
	store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.WithName("fleet"))
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := renew.Open(ctx, "foo", store, renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // it waits for a renewal that has begun, while db is still open
	fmt.Println(source.RenewIfDue(ctx))
}

// A person or a migration creates the table once.
func ExampleSchema() {
	fmt.Print(sqlstore.Schema(sqlstore.PostgreSQL))
	// Output:
	// CREATE TABLE IF NOT EXISTS esper_keys (
	//     name     text  PRIMARY KEY,
	//     version  text  NOT NULL,
	//     document bytea NOT NULL
	// );
}
