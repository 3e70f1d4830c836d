package keyfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds what is read: a document is about 1 KiB, or 1.5 MiB with an answer that could not be read.
const maxFile = 4 << 20

// read returns the content of a file; nil, and not an empty slice, if there is none. It waits for nobody, even if a pipe
// lies there by now.
func read(ctx context.Context, path string) (content []byte, err error) {
	err = patiently(ctx, func() error {
		in, err := os.OpenFile(path, os.O_RDONLY|openNow, 0)
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // it was only read
		info, err := in.Stat()
		if err == nil {
			err = regular(info)
		}
		if err == nil {
			content, err = io.ReadAll(io.LimitReader(in, maxFile+1))
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case len(content) > maxFile:
		return nil, permanent("it is larger than any key document", "give the path of the key's file")
	}
	return content, err
}

// hash returns the version of a content: a short hash, or "" if there is no file.
func hash(content []byte) string {
	if content == nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// withoutMark drops the byte order mark that some editors write.
func withoutMark(content []byte) []byte { return bytes.TrimPrefix(content, []byte("\ufeff")) }

// nextName returns the name of the file with the content to that is to replace target while that has the content from.
// It always has the same length, so that a name that is too long is noticed at the first save.
func nextName(target string, from, to []byte) string {
	was := hash(from)
	if was == "" {
		was = strings.Repeat("0", hex.EncodedLen(8))
	}
	return target + nextMark + was + "-" + hash(to)
}

const nextMark = ".next-"

// nexts returns the paths of all files that were to replace the target. In a sticky folder other users can make such
// files, which do not count.
func (p place) nexts() (paths []string) {
	folder, prefix := filepath.Dir(p.target), filepath.Base(p.target)+nextMark
	entries, _ := os.ReadDir(folder) // if the folder cannot be listed, no such file is found
	for _, e := range entries {
		if info, err := e.Info(); strings.HasPrefix(e.Name(), prefix) && err == nil && info.Mode().IsRegular() && p.trusts(info) {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths
}

// finished returns the content of a save that is written but not renamed, and that is to replace current; nil if there
// is none.
func (p place) finished(ctx context.Context, current []byte) []byte {
	for _, path := range p.nexts() {
		if next, err := read(ctx, path); err == nil && next != nil && path == nextName(p.target, current, next) {
			return next
		}
	}
	return nil
}
