//go:build linux

package stores

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
	"github.com/esper-go/esper-go/pkg/stores/etcdstore"
)

// TestContract checks the contract of a store on each engine, and on connections with unusual settings.
func TestContract(t *testing.T) {
	settings := map[string]map[string][2]string{ // what in the address is replaced by what
		"PostgreSQL": {
			"serializable":    {"sslmode=disable", "sslmode=disable&default_transaction_isolation=serializable"},
			"repeatable read": {"sslmode=disable", "sslmode=disable&default_transaction_isolation=repeatable%20read"},
			"simple protocol": {"sslmode=disable", "sslmode=disable&default_query_exec_mode=simple_protocol"},
		},
		"MariaDB": {
			"serializable": {"/mysql", "/mysql?tx_isolation=%27SERIALIZABLE%27"},
			"rows found":   {"/mysql", "/mysql?clientFoundRows=true&interpolateParams=true"},
		},
		"SQLite": {
			"does not wait": {"busy_timeout(1000)", "busy_timeout(0)"},
			"immediate":     {"?", "?_txlock=immediate&"},
		},
	}
	on(t, stores, func(t *testing.T, e *engine) {
		var opts []storetest.Option
		if e.name == "Kubernetes" {
			opts = append(opts, storetest.MaxDocument(1<<20))
		}
		t.Run("as it is", func(t *testing.T) { storetest.Run(t, e.fresh, open, opts...) })
		for name, set := range settings[e.name] {
			t.Run(name, func(t *testing.T) {
				storetest.Run(t, func(t *testing.T) string {
					address := strings.Replace(e.fresh(t), set[0], set[1], 1)
					if !strings.Contains(address, set[1]) {
						t.Fatalf("%q is not in %q", set[0], address)
					}
					return address
				}, open)
			})
		}
	})
}

// TestEtcd runs storetest on the store that storetest's README shows, with the API server's etcd.
func TestEtcd(t *testing.T) {
	source, err := os.ReadFile("etcdstore/etcdstore.go")
	must(t, err)
	page, err := os.ReadFile("../esper/renew/storetest/README.md")
	must(t, err)
	if !strings.Contains(string(page), "```go\n"+string(source)+"```") {
		t.Error("storetest/README.md and etcdstore/etcdstore.go differ")
	}
	var once sync.Once
	var client *clientv3.Client
	storetest.Run(t, func(t *testing.T) string {
		args := get(t, "Kubernetes").services[0].args
		return args[1+slices.Index(args, "--listen-client-urls")] + "\t" + newName()
	}, func(address string) (renew.Store, error) {
		listens, key, _ := strings.Cut(address, "\t")
		var err error
		once.Do(func() {
			client, err = clientv3.New(clientv3.Config{Endpoints: []string{listens}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		})
		return etcdstore.Store{Client: client, Key: key}, err
	}, storetest.MaxDocument(1<<20))
}
