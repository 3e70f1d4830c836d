package renew

import (
	"context"
	"errors"
	"strings"
	"sync"
)

var errDisk = errors.New("no space left on device")

// diskFullFor returns a function for faulty.set that fails the save of a document with the text, as if the disk were full.
func diskFullFor(text string) func(data []byte) error {
	return func(data []byte) error {
		if strings.Contains(string(data), text) {
			return errDisk
		}
		return nil
	}
}

// faulty is a store that calls load before Load and save before Save, and returns their errors.
type faulty struct {
	Store
	mu   sync.Mutex
	load func() error
	save func(data []byte) error
}

func (f *faulty) set(load func() error, save func([]byte) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.load, f.save = load, save
}

func (f *faulty) Load(ctx context.Context) ([]byte, string, error) {
	f.mu.Lock()
	load := f.load
	f.mu.Unlock()
	if load != nil {
		if err := load(); err != nil {
			return nil, "", err
		}
	}
	return f.Store.Load(ctx)
}

func (f *faulty) Save(ctx context.Context, data []byte, version string) (string, error) {
	f.mu.Lock()
	save := f.save
	f.mu.Unlock()
	if save != nil {
		if err := save(data); err != nil {
			return "", err
		}
	}
	return f.Store.Save(ctx, data, version)
}
