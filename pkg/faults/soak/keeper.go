package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	// life is how long each source renews. It is longer than an attempt of unknown outcome may be under way.
	life = 20 * time.Second
	// patience is how long a source may pause before ending counts it as waiting.
	patience = 10 * time.Second
	// settle is how long judge waits for a source to reach one of the allowed ends.
	settle = 10 * time.Second
)

// keeper has one source after another renew a key. At first they use renew-token. Once an error has said to use
// WithPersonalAccessTokens, they use that option.
type keeper struct {
	server    *server
	folder    string
	found     *findings
	transport *http.Transport

	mu      sync.Mutex
	current *renew.Source
	ready   chan struct{} // closed once the first source is open

	sources, kept, lost, inDoubt int
	renewals, throughTokens      int
	told                         bool // renew-token has ended, and an error said to use WithPersonalAccessTokens
	wrong                        []error
}

func newKeeper(s *server, folder string, f *findings) *keeper {
	return &keeper{server: s, folder: folder, found: f, transport: new(http.Transport), ready: make(chan struct{})}
}

// source returns the source in use; nil before ready is closed.
func (k *keeper) source() *renew.Source {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

func (k *keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		path := filepath.Join(k.folder, fmt.Sprintf("%d.json", k.sources))
		issued := k.server.issue()
		source := k.open(ctx, path, issued)
		if source == nil {
			return
		}
		k.sources++
		k.mu.Lock()
		previous := k.current
		k.current = source
		k.mu.Unlock()
		if previous == nil {
			close(k.ready)
		} else if err := previous.Close(); err != nil {
			k.wrong = append(k.wrong, err)
		}
		k.server.retire(issued)
		k.live(ctx, source)
		if err := k.judge(source, path); err != nil {
			k.wrong = append(k.wrong, fmt.Errorf("source %d: %w", k.sources, err))
		}
	}
}

// open opens a source with a new key. It tries again when the server fails.
func (k *keeper) open(ctx context.Context, path, issued string) *renew.Source {
	key := esper.NewSecret(issued)
	options := []renew.Option{renew.WithInitialToken(key), renew.WithClientOptions(callOptions(k.transport)...)}
	count := &k.renewals
	k.mu.Lock()
	told := k.told
	k.mu.Unlock()
	if told {
		options = append(options, renew.WithPersonalAccessTokens())
		count = &k.throughTokens
	}
	options = append(options, renew.WithOnChange(func(e renew.Event) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if e.Kind == renew.Renewed {
			*count++
		}
		if e.Status.LastError == nil {
			return
		}
		k.found.note(e.Status.LastError)
		k.told = k.told || errors.Is(e.Status.LastError, esper.ErrNotFound) && strings.Contains(e.Status.LastError.Error(), "WithPersonalAccessTokens")
	}))
	for {
		source, err := renew.Open(ctx, k.server.base, renew.File(path), options...)
		if err == nil {
			return source
		}
		if ctx.Err() != nil {
			return nil
		}
		k.found.note(err)
	}
}

// live runs a source for the time life, and has it renew its key again and again. For two sources in three, it stops at
// the first error.
func (k *keeper) live(ctx context.Context, source *renew.Source) {
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx) }()
	for pause(ctx, 50*time.Millisecond) {
		err := source.Renew(ctx)
		k.found.note(err)
		if err != nil && k.sources%3 != 0 { // every third source goes on after an error
			cancel()
		}
	}
	k.found.note(<-ended)
}

// judge checks that the source has the newest key of the server, in memory and on disk. It may have an older key, and
// has to report that, only if the server did not deliver the answer with the newer one.
func (k *keeper) judge(source *renew.Source, path string) (err error) {
	for end := time.Now().Add(settle); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		var stored string
		if stored, err = keyIn(path); err != nil {
			return err
		}
		ctx, cancel := context.WithDeadline(context.Background(), end)
		token, tokenErr := source.TokenContext(ctx)
		cancel()
		key := stored
		if tokenErr == nil {
			key = token.AccessToken
		}
		status := source.Status()
		if count := k.ending(key, key == stored || !status.Saved, tokenErr, status); count != nil {
			*count++
			return nil
		}
		newest, lost := k.server.state(key)
		err = fmt.Errorf("a key is lost that was answered: newest %t, lost on the way %t, on disk %t: %w",
			newest, lost, stored == key, errors.Join(tokenErr, status.LastError))
	}
	return err
}

// ending returns the counter for the way in which a source ended, or nil if that way is not allowed.
func (k *keeper) ending(key string, stored bool, err error, status renew.Status) *int {
	newest, lost := k.server.state(key)
	switch isLost := errors.Is(err, renew.ErrKeyLost); {
	case newest && err == nil && stored:
		return &k.kept
	case lost && isLost:
		return &k.lost
	case lost && status.LastError != nil:
		return &k.inDoubt
	case newest && err != nil && !isLost && time.Until(status.NextAttempt) > patience:
		return &k.inDoubt // the key has expired while the source pauses, and is not given up
	}
	return nil
}

func keyIn(path string) (string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // a file of this program
	if err != nil {
		return "", err
	}
	var document struct{ Key string }
	err = json.Unmarshal(data, &document)
	return document.Key, err
}

func (k *keeper) closeIdle() { k.transport.CloseIdleConnections() }

func (k *keeper) String() string {
	return fmt.Sprintf("%d sources, %d renewals and %d through personal access tokens: %d ended with the newest key, %d with one that is lost because the answer never arrived, %d waiting to tell which",
		k.sources, k.renewals, k.throughTokens, k.kept, k.lost, k.inDoubt)
}

func (k *keeper) verdict() error {
	wrong := k.wrong
	if k.renewals == 0 || k.throughTokens == 0 || k.kept == 0 {
		wrong = append(wrong, errors.New("no key was renewed and kept, by one way or by both"))
	}
	if !k.told {
		wrong = append(wrong, errors.New("renew-token ended, and no error named the way out"))
	}
	return errors.Join(wrong...)
}
