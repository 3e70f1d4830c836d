package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// failure is an error in one line that quotes no part of the document. It does not wrap the driver's error, because
// the server may have quoted the row in the fields of that error.
type failure struct {
	text      string
	code      string  // a SQLSTATE, an engine's number, or ""
	is        []error // errors of the packages context and database/sql, for errors.Is
	permanent bool
	busy      bool
}

func (e *failure) Error() string { return e.text }

// Unwrap returns the errors of the packages context and database/sql that caused this one.
func (e *failure) Unwrap() []error { return e.is }

// Permanent reports whether the error stays until a person changes something.
func (e *failure) Permanent() bool { return e.permanent }

// SQLState returns the code that the engine gave, if it is known.
func (e *failure) SQLState() string { return e.code }

func isBusy(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.busy
}

func (s *store) plainFailure(text string) *failure { return &failure{text: text} }

// unfit turns the value of [Dialect.check] into an error.
func (s *store) unfit(found string) *failure {
	text := map[string]string{
		"replica":     "the server is read-only: it is a replica, or has read_only set; connect to the primary",
		"autocommit":  "autocommit is off, so nothing would be saved; turn it on for the connections of this store",
		"synchronous": "the database has synchronous below EXTRA (with WAL, below FULL), so a power cut can undo a save; open it with synchronous=EXTRA",
		"journal":     "the database has no journal on the disk, so a program that is killed can destroy it; open it with journal_mode=DELETE",
	}[found]
	return &failure{text: text, permanent: found != "replica"}
}

// failure turns an error of a driver into a failure. document is what the statement writes, or nil if it reads.
func (s *store) failure(ctx context.Context, err error, document []byte) *failure {
	f := new(failure)
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone} {
		if errors.Is(err, known) || ctx.Err() != nil && errors.Is(ctx.Err(), known) {
			f.is = append(f.is, known)
		}
	}
	var text string
	f.code, text = serverError(err)
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if quotes(text, document) {
		text = "the driver's message is not shown, because it quotes the document"
		if f.code != "" {
			text += " (" + f.code + ")"
		}
	} else if most := 300; len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	f.text = text
	table := s.dialect.quoteTable(s.options.table)
	switch kind(s.dialect, f.code, text) {
	case busy:
		f.busy = true
	case noTable:
		f.permanent = true
		if s.dialect != SQLite { // a second table of this name would be a second store
			f.text += "; if the table is in another schema or database, write its name as schema.table"
		}
		f.text += "; if it does not exist, or has other columns, create it with: " + strings.Join(strings.Fields(Schema(s.dialect, WithTable(s.options.table))), " ")
	case denied:
		f.permanent = true
		rights := "SELECT and, to renew, INSERT and UPDATE"
		if document != nil {
			rights = "SELECT, INSERT and UPDATE"
		}
		f.text += fmt.Sprintf("; grant the database user %s on %s", rights, table)
		if s.dialect == PostgreSQL {
			f.text += ", and if the table has row-level security, a policy that allows them"
		}
	case ofFile:
		s.fileAdvice(f, text, document != nil)
	case readOnly:
		f.text += "; connect to the primary, as a user who may write"
	case login:
		f.text += "; check the user's name and password, and whether the server wants TLS from this user"
	case hidden:
		f.text += "; the row exists, but a policy for row-level security hides it from this user"
	}
	return f
}

type class int

const (
	other class = iota
	busy
	noTable
	denied
	readOnly
	login
	hidden // of a row that cannot be made, because it exists, and cannot be read either
	ofFile // SQLite cannot open or write a file
)

// kind classifies an error by its code. The codes are from the engines' manuals. For SQLite it looks at the error's
// text, because each driver reports SQLite's codes in its own way.
func kind(d Dialect, code, text string) class {
	kinds := map[string]class{
		"40001": busy, "40P01": busy, "55P03": busy, "1213": busy, "1205": busy, "1020": busy,
		"42P01": noTable, "42703": noTable, "3F000": noTable, "1146": noTable, "1054": noTable, "1049": noTable,
		"42501": denied, "1142": denied, "1143": denied, "1044": denied,
		"28000": login, "28P01": login, "1045": login, "1698": login, "23505": hidden,
		"25006": readOnly, "1290": readOnly, "1792": readOnly, "1836": readOnly,
	}
	if d != SQLite {
		return kinds[code]
	}
	for words, is := range map[string]class{
		"database is locked": busy, "table is locked": busy, "SQLITE_BUSY": busy, "SQLITE_LOCKED": busy,
		"no such table": noTable, "no such column": noTable, "has no column": noTable,
		"readonly database": ofFile, "unable to open database file": ofFile,
	} {
		if strings.Contains(text, words) {
			return is
		}
	}
	return other
}

// inText finds the number in an error of go-sql-driver/mysql.
var inText = regexp.MustCompile(`Error (\d{4})\b`)

// serverError returns the SQLSTATE of an error from a PostgreSQL driver, or the number in the text of one from a MySQL
// driver, and the text. What the server said stands alone: a driver may have tried before to connect in another way, and
// begin its text with that.
func serverError(err error) (code, text string) {
	var state interface {
		error
		SQLState() string
	}
	if errors.As(err, &state) {
		return state.SQLState(), state.Error()
	}
	if found := inText.FindStringSubmatch(err.Error()); found != nil {
		return found[1], err.Error()
	}
	return "", err.Error()
}

// quotes reports whether a text quotes a document as it is, in hex or as Go prints bytes. It compares the text in
// blocks of twelve characters, so it finds every quotation that has 23 characters without white space.
func quotes(text string, document []byte) bool {
	const run = 12
	if len(document) == 0 {
		return false
	}
	for _, printed := range []string{
		string(document), hex.EncodeToString(document),
		fmt.Sprintf("%#v", document), fmt.Sprint(document),
	} {
		for i := 0; i+run <= len(text); i += run {
			if part := text[i : i+run]; strings.Contains(printed, part) || strings.Contains(printed, strings.ToLower(part)) {
				return true
			}
		}
	}
	return false
}
