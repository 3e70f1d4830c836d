package renew

import (
	"context"
	"strconv"
	"sync"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/internal/keyfile"
)

// Store keeps one small document for all processes that share a key. [File] and [Memory] are stores;
// package storetest checks others. All methods must be safe for concurrent use, and return soon after
// their context ends.
//
// The document holds the key: keep it as secret as the key, and out of every error.
type Store interface {
	// Load returns the document that was last saved, and its version, or nil and "" if there is none. It
	// writes nothing.
	Load(ctx context.Context) (document []byte, version string, err error)
	// Save replaces the document, as a whole or not at all, if the stored version is still version ("" means
	// that nothing is stored). It returns the new version once a crash cannot undo the change, and does not
	// keep the slice. The error is ErrConflict, possibly wrapped, if the store holds another version by now.
	// After any error, ErrConflict included, the document may have been replaced all the same, now or
	// later: a driver may have repeated the write, or an answer may have been lost.
	Save(ctx context.Context, document []byte, version string) (newVersion string, err error)
}

// ErrConflict is returned by [Store.Save] if the store does not hold the version that was to be replaced, and by
// methods of [Source] that could not do what was asked because another process changed the store meanwhile.
var ErrConflict = keyfile.ErrConflict

// Memory returns a store that ends with the process: for tests, and for programs that end before their key is
// due. A key that was renewed in it is lost when the process ends.
func Memory() Store { return &memory{} }

type memory struct {
	mu      sync.Mutex   // guards what follows
	saves   uint64       // how often the document was saved
	version string       // the same as text; "" if it was never saved
	content esper.Secret // the document, as a secret, so that fmt does not show it
}

func (m *memory) Load(ctx context.Context) (document []byte, version string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version == "" {
		return nil, "", nil
	}
	return []byte(m.content.Reveal()), m.version, nil
}

func (m *memory) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if version != m.version {
		return "", ErrConflict
	}
	m.saves++
	m.version, m.content = strconv.FormatUint(m.saves, 10), esper.NewSecret(string(document))
	return m.version, nil
}

// String names the store in errors.
func (m *memory) String() string { return "the store in memory" }
