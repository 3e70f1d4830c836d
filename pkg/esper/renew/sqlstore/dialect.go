package sqlstore

import (
	"embed"
	"fmt"
	"strings"
)

// Dialect is the SQL of a database engine. The zero value is invalid.
type Dialect int

// The engines.
const (
	PostgreSQL Dialect = iota + 1
	MySQL              // MariaDB too
	SQLite             // 3.16 or later
)

func (d Dialect) valid() bool { return d >= PostgreSQL && d <= SQLite }

//go:embed schema/*.sql
var schemas embed.FS

// Schema returns the statement that creates the table if it does not exist, or "" for an unknown dialect. The only
// option that it uses is [WithTable]. The folder schema/ has the same statements as files, for migration tools.
//
// A program that renews needs a database user with SELECT, INSERT and UPDATE on the table. With renew.ReadOnly, SELECT
// is enough.
func Schema(d Dialect, opts ...Option) string {
	if !d.valid() {
		return ""
	}
	text, err := schemas.ReadFile("schema/" + [...]string{"postgresql", "mysql", "sqlite"}[d-1] + ".sql")
	if err != nil {
		return "" // cannot happen: the files are embedded in the program
	}
	if o := newOptions(opts); o.table != defaultTable {
		return strings.Replace(string(text), defaultTable, d.quoteTable(o.table), 1)
	}
	return string(text)
}

// quoteTable quotes each part of a table's name.
func (d Dialect) quoteTable(name string) string {
	quote := `"`
	if d == MySQL {
		quote = "`"
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = quote + strings.ReplaceAll(part, quote, quote+quote) + quote
	}
	return strings.Join(parts, ".")
}

// check is an SQL expression. Its value says why the store cannot use the connection; "" means that it can.
func (d Dialect) check() string {
	switch d {
	case PostgreSQL:
		return "CASE WHEN pg_is_in_recovery() THEN 'replica' ELSE '' END"
	case MySQL: // read_only is a number in MySQL and a word in MariaDB
		return "CASE WHEN @@session.autocommit = 0 THEN 'autocommit'" +
			" WHEN CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') OR @@global.innodb_read_only = 1 THEN 'replica' ELSE '' END"
	default:
		// Without EXTRA, a power cut can bring back the journal of a save, which then undoes the save.
		const mode, file = "(SELECT journal_mode FROM pragma_journal_mode)", "(SELECT max(file) FROM pragma_database_list WHERE name = 'main')"
		return "CASE WHEN " + file + " = '' THEN '' WHEN " + mode + " IN ('off', 'memory') THEN 'journal'" +
			" WHEN (SELECT synchronous FROM pragma_synchronous) < CASE " + mode + " WHEN 'delete' THEN 3 ELSE 2 END THEN 'synchronous' ELSE '' END"
	}
}

// durable is a clause at the end of a write. It makes the commit of that statement wait for the disk, even where the
// server is set up not to wait. Only PostgreSQL lets a session ask for that.
func (d Dialect) durable() string {
	if d == PostgreSQL {
		return " RETURNING CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'local', true) END"
	}
	return ""
}

// statements are what the store sends. All values are parameters.
type statements struct{ load, insert, update string }

func (d Dialect) statements(table string) statements {
	p := [...]any{"?", "?", "?", "?"}
	if d == PostgreSQL {
		p = [...]any{"$1", "$2", "$3", "$4"}
	}
	quoted := d.quoteTable(table)
	write := func(format string, n int) string {
		return fmt.Sprintf(format, append([]any{quoted}, p[:n]...)...) + d.durable()
	}
	return statements{
		// This yields one row even if there is no document: version and document are NULL then.
		load: fmt.Sprintf("SELECT k.version, k.document, %s FROM (SELECT 1 AS n) AS one LEFT JOIN %s AS k ON k.name = %s",
			d.check(), quoted, p[0]),
		insert: write("INSERT INTO %s (version, document, name) VALUES (%s, %s, %s)", 3),
		update: write("UPDATE %s SET version = %s, document = %s WHERE name = %s AND version = %s", 4),
	}
}
