package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

// This program shares its key with others through PostgreSQL. It also has to import a driver:
// _ "github.com/jackc/pgx/v5/stdlib" registers itself as "pgx".
func ExampleNew() {
	open := func(ctx context.Context) (*renew.Source, error) {
		db, err := sql.Open("pgx", "host=db1,db2 dbname=ops target_session_attrs=read-write")
		if err != nil {
			return nil, err
		}
		store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.WithName("fleet"))
		if err != nil {
			return nil, err
		}
		return renew.Open(ctx, "foo", store, renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY"))))
	}
	_ = open
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
