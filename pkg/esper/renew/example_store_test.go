package renew_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

// table stands for a table of a database, whose rows have a version. An update compares the version.
type table struct {
	mu   sync.Mutex
	rows map[string]row
}

type row struct {
	document []byte
	version  int
}

// tableStore is a renew.Store that keeps its document in one row.
type tableStore struct {
	table *table
	name  string
}

func (s tableStore) Load(ctx context.Context) ([]byte, string, error) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	r, ok := s.table.rows[s.name]
	if !ok {
		return nil, "", ctx.Err() // never saved; if your store cannot tell, return an error
	}
	return append([]byte(nil), r.document...), strconv.Itoa(r.version), ctx.Err() // a copy
}

// Save does what UPDATE … SET document = ?, version = version + 1 WHERE name = ? AND version = ? does, or an
// INSERT that fails if the row exists.
func (s tableStore) Save(ctx context.Context, document []byte, version string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	r, ok := s.table.rows[s.name]
	if ok != (version != "") || ok && version != strconv.Itoa(r.version) {
		return "", renew.ErrConflict
	}
	r = row{append([]byte(nil), document...), r.version + 1}
	s.table.rows[s.name] = r
	return strconv.Itoa(r.version), nil
}

// A store of your own has two methods. Test it with storetest.Run or, if it keeps its content in the process
// as this one does, with storetest.RunInProcess.
func ExampleStore() {
	server := espertest.New()
	defer server.Close()
	store := tableStore{&table{rows: make(map[string]row)}, "esper"}
	source, err := renew.Open(context.Background(), server.URL, store, renew.WithInitialToken(esper.NewSecret(server.Token())))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // nothing was begun
	_, version, err := store.Load(context.Background())
	fmt.Println(version, err)
	// Output: 1 <nil>
}

func TestTableStore(t *testing.T) {
	storetest.RunInProcess(t, func(*testing.T) renew.Store {
		return tableStore{&table{rows: make(map[string]row)}, "esper"}
	})
}
