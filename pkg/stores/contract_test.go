//go:build linux

package stores

import (
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/esper/renew/storetest"
)

func TestContract(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		if e.name == "Kubernetes" {
			storetest.Run(t, e.fresh, open, storetest.MaxDocument(1<<20))
			return
		}
		storetest.Run(t, e.fresh, open)
	})
}

// TestContractSettings checks the contract of a store on connections with unusual settings.
func TestContractSettings(t *testing.T) {
	for name, set := range map[string]struct {
		engine   string
		old, new string // new replaces old in the address
	}{
		"PostgreSQL, serializable":    {"PostgreSQL", "sslmode=disable", "sslmode=disable&default_transaction_isolation=serializable"},
		"PostgreSQL, repeatable read": {"PostgreSQL", "sslmode=disable", "sslmode=disable&default_transaction_isolation=repeatable%20read"},
		"PostgreSQL, simple protocol": {"PostgreSQL", "sslmode=disable", "sslmode=disable&default_query_exec_mode=simple_protocol"},
		"MariaDB, serializable":       {"MariaDB", "/mysql", "/mysql?tx_isolation=%27SERIALIZABLE%27"},
		"MariaDB, rows found":         {"MariaDB", "/mysql", "/mysql?clientFoundRows=true&interpolateParams=true"},
		"SQLite, does not wait":       {"SQLite", "busy_timeout(1000)", "busy_timeout(0)"},
		"SQLite, immediate":           {"SQLite", "?", "?_txlock=immediate&"},
	} {
		t.Run(name, func(t *testing.T) {
			e := get(t, set.engine)
			storetest.Run(t, func(t *testing.T) string {
				address := e.fresh(t)
				changed := strings.Replace(address, set.old, set.new, 1)
				if changed == address {
					t.Fatalf("%q is not in %q", set.old, address)
				}
				return changed
			}, open)
		})
	}
}
