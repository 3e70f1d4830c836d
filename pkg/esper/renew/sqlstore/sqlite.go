package sqlstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

// Inspect looks at the file of a SQLite database, its folder and the way there, as renew.File does with its file.
// renew.Open calls it.
func (s *store) Inspect(ctx context.Context, readOnly bool) error {
	if s.dialect != SQLite {
		return nil
	}
	schema, _, found := strings.Cut(s.options.table, ".")
	if !found {
		schema = "main"
	}
	var path string // empty if the database is in memory
	err := s.persist(ctx, func() error {
		err := s.db.QueryRowContext(ctx, "SELECT coalesce(max(file), '') FROM pragma_database_list WHERE name = ?", schema).Scan(&path)
		if err != nil {
			return s.failure(ctx, err, nil)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := os.Lstat(path); path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file := keyfile.Database(path)
	s.file.Store(file)
	return file.Inspect(ctx, readOnly)
}

// Warnings returns what Inspect has found, once.
func (s *store) Warnings() []string {
	if file := s.file.Load(); file != nil {
		return file.Warnings()
	}
	return nil
}

// fileAdvice is for an error that SQLite gives if it cannot open a file, or cannot write. A reader gets it if a writer
// was killed in the middle of a save: SQLite must then undo that in the file before anybody can read it.
func (s *store) fileAdvice(f *failure, text string, writes bool) {
	file := s.file.Load()
	if file != nil {
		f.text = file.String() + ": " + f.text
	}
	if strings.Contains(text, "readonly database") && !writes {
		f.text += "; a save was interrupted, and only a program that may write can clear that up: let one open the store first"
		return
	}
	f.permanent = true
	if file != nil {
		if err := file.Inspect(context.Background(), !writes); err != nil {
			f.text += ": " + err.Error()
			return
		}
	}
	f.text += "; this user has to be able to read the file, and to save, also to write it and in its folder, where its journal lies"
}
