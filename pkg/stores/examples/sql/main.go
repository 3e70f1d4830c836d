// Sql makes one call, with a key that machines share through PostgreSQL. If the key is due for renewal, the call renews
// it first.
//
// ESPER_ENVIRONMENT names the tenant and DATABASE_URL the database. ESPER_API_KEY is the key to use while the table is
// empty.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.WithName("fleet"))
	if err != nil {
		return err
	}
	source, err := renew.Open(ctx, os.Getenv("ESPER_ENVIRONMENT"), store,
		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY")))) // used while the table is empty
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }() // this runs before the database is closed
	info, err := source.Client().TokenInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Println("key", info.ID, "of", info.User)
	return nil
}
