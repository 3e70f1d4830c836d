package sqlstore

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// TestNoSecrets has a driver's error quote the document, in its text and in a field, in several notations. The store's
// error must not hold the key.
func TestNoSecrets(t *testing.T) {
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	document := []byte(`{"key": "` + canary + `", "to": "<\u00e9>"}`)
	forms := map[string]string{
		"as it is":   string(document),
		"quoted":     fmt.Sprintf("%q", document),
		"in hex":     hex.EncodeToString(document),
		"in HEX":     strings.ToUpper(hex.EncodeToString(document)),
		"in Go":      fmt.Sprintf("%#v", document),
		"in numbers": fmt.Sprint(document),
		"cut":        canary[:25],
	}
	for name, form := range forms {
		f := &fakeDB{}
		s, version := saved(t, f)
		f.before = func(int) error { return &rowError{Words: "invalid input: " + form, Detail: canary} }
		_, err := s.Save(t.Context(), document, version)
		if err == nil || !strings.Contains(err.Error(), "22P02") {
			t.Fatalf("%s: %v", name, err)
		}
		for _, printed := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)} {
			for form, secret := range map[string]string{
				"raw": canary[:20], "hex": hex.EncodeToString([]byte(canary[:10])),
				"Go":     strings.Trim(fmt.Sprintf("%#v", []byte(canary[:8])), "[]byte{}"),
				"base64": base64.StdEncoding.EncodeToString([]byte(canary))[:20],
			} {
				if strings.Contains(strings.ToLower(printed), strings.ToLower(secret)) {
					t.Errorf("%s: the error holds the key (%s): %s", name, form, printed)
				}
			}
		}
		var own *rowError
		if errors.As(err, &own) {
			t.Errorf("%s: errors.As finds the driver's error, whose fields quote the row", name)
		}
		for _, statement := range f.statements {
			if strings.Contains(statement, canary) {
				t.Errorf("%s: a statement holds the key: %s", name, statement)
			}
		}
	}
}

// rowError is like an error of a PostgreSQL driver. In Detail the server quotes the row.
type rowError struct{ Words, Detail string }

func (e *rowError) Error() string  { return e.Words }
func (*rowError) SQLState() string { return "22P02" }

// TestAdvice opens a Source on a database that is read-only, or lacks the table or a right. The error says what to do.
func TestAdvice(t *testing.T) {
	server := espertest.NewServer(t)
	type fails struct {
		dialect   Dialect
		read      error  // of the statement that reads
		write     error  // of the statement that writes
		unfit     string // what the server says of itself
		want      string
		permanent bool
	}
	for name, test := range map[string]fails{
		"PostgreSQL, no table":     {PostgreSQL, coded("42P01"), nil, "", `CREATE TABLE IF NOT EXISTS "my""keys" ( name text`, true},
		"PostgreSQL, no right":     {PostgreSQL, nil, coded("42501"), "", `SELECT, INSERT and UPDATE on "my""keys"`, true},
		"PostgreSQL, only reads":   {PostgreSQL, nil, coded("25006"), "", "primary", false},
		"MySQL, no table":          {MySQL, errors.New("Error 1146 (42S02): Table 'ops.x' doesn't exist"), nil, "", "CREATE TABLE IF NOT EXISTS `my\"keys` ( name varbinary", true},
		"MySQL, no right":          {MySQL, nil, errors.New("Error 1142 (42000): UPDATE command denied to user"), "", "grant", true},
		"MySQL, only reads":        {MySQL, nil, errors.New("Error 1290 (HY000): The server is running with --read-only"), "", "primary", false},
		"SQLite, no table":         {SQLite, errors.New("SQL logic error: no such table: x (1)"), nil, "", `CREATE TABLE IF NOT EXISTS "my""keys" ( name text NOT NULL`, true},
		"SQLite, another's table":  {SQLite, errors.New("no such column: k.version"), nil, "", `CREATE TABLE`, true},
		"SQLite, hot journal":      {SQLite, errors.New("attempt to write a readonly database (776)"), nil, "", "a save was interrupted", false},
		"SQLite, not readable":     {SQLite, errors.New("unable to open database file (14)"), nil, "", "able to read the file", true},
		"PostgreSQL, a replica":    {PostgreSQL, nil, nil, "replica", "connect to the primary", false},
		"MySQL, nothing is saved":  {MySQL, nil, nil, "autocommit", "autocommit is off", true},
		"SQLite, a power cut":      {SQLite, nil, nil, "synchronous", "synchronous=EXTRA", true},
		"SQLite, a killed program": {SQLite, nil, nil, "journal", "journal_mode=DELETE", true},
		"SQLite, only reads":       {SQLite, nil, errors.New("attempt to write a readonly database (8)"), "", "to write it and in its folder", true},
	} {
		f := &fakeDB{unfit: test.unfit, read: func() error { return test.read }, before: func(int) error { return test.write }}
		s := newStore(t, f, test.dialect, WithTable(`my"keys`))
		_, err := renew.Open(t.Context(), server.URL, s, renew.WithInitialToken(esper.NewSecret(server.Token())))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		var p interface{ Permanent() bool }
		if !errors.As(err, &p) || p.Permanent() != test.permanent {
			t.Errorf("%s: permanent is not %v: %v", name, test.permanent, err)
		}
		if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || test.dialect == SQLite && strings.Contains(err.Error(), "primary") {
			t.Errorf("%s: %v\nwant in one line %q", name, err, test.want)
		}
	}
}
