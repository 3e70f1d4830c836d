package renew

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-go/esper-go/pkg/esper"
)

// rescue looks for the successor of h's key, which the server refuses, in what a process had
// written when it died before that was in place, and takes it into use. That takes milliseconds,
// most of them fsync's, out of the time in which a crash can lose a key.
func (s *Source) rescue(ctx context.Context, h *keyState) error {
	store, ok := s.store.(interface{ leftovers() [][]byte })
	if !ok {
		return nil
	}
	for _, data := range store.leftovers() {
		doc, err := decode(data, s.server.String())
		if err != nil || doc.Key == h.doc.Key || doc.Key == h.from || !doc.RenewedAt.After(h.doc.RenewedAt) {
			continue
		}
		_, err = s.client.TokenInfo(withKey(ctx, esper.NewSecret(doc.Key)))
		switch {
		case errors.Is(err, esper.ErrUnauthorized):
			continue
		case err != nil:
			return fmt.Errorf("renew: cannot tell whether a key that was not quite saved works: %w", err)
		}
		next := newKeyState(doc, s.before)
		next.saved, next.from = false, h.doc.Key
		if !h.saved {
			next.from = h.from
		}
		return s.saveNew(ctx, next)
	}
	return nil
}

// leftovers returns the content of temporary files, whole or not. Who holds the lock knows that
// their processes are gone.
func (f file) leftovers() (all [][]byte) {
	target, err := f.target()
	if err != nil {
		return nil
	}
	eachTemporary(target, func(path string, _ os.FileInfo) {
		if data, err := read(path); err == nil {
			all = append(all, data)
		}
	})
	return all
}

func eachTemporary(target string, f func(path string, info os.FileInfo)) {
	folder, prefix := filepath.Dir(target), filepath.Base(target)+temporaryMark
	entries, _ := os.ReadDir(folder) // nothing depends on seeing them all
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			f(filepath.Join(folder, e.Name()), info)
		}
	}
}
