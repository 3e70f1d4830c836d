package renew

import (
	"context"
	"slices"
	"sync"
)

// Store keeps one small document, durably, for all processes that use the same key. [File] and
// [Memory] are stores; a Kubernetes Secret, Vault or Redis fits behind the interface too, and
// package storetest checks that an implementation keeps this contract. All methods must be safe
// for concurrent use and end with their context.
//
// The document holds the key: keep it as secret as the key, and out of every error.
type Store interface {
	// Load returns the document as it was saved last, nil if none ever was.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces the document, as a whole or not at all, and returns once a crash cannot undo
	// it. It does not keep the slice.
	Save(ctx context.Context, document []byte) error
	// Lock waits until no other holder, in this process or elsewhere, has the lock. The lock of a
	// process that dies is freed, by the system or after a lease that is longer than the three
	// minutes for which a Source holds it at most. It does not keep Load and Save out.
	Lock(ctx context.Context) (unlock func(), err error)
}

// Memory returns a store that ends with the process: for tests, and for programs whose key is
// never renewed within their run. A renewed key is lost with it.
func Memory() Store { return &memory{lock: make(chan struct{}, 1)} }

type memory struct {
	lock     chan struct{} // full while locked
	mu       sync.Mutex    // guards document
	document []byte
}

func (m *memory) Load(ctx context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Clone(m.document), nil
}

func (m *memory) Save(ctx context.Context, document []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	m.document = slices.Clone(document)
	return nil
}

func (m *memory) Lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err // select would choose at random
	}
	select {
	case m.lock <- struct{}{}:
		return sync.OnceFunc(func() { <-m.lock }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
