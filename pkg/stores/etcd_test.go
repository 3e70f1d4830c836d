//go:build linux

package stores

import (
	"os"
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
		t.Helper()
		listens := ""
		for i, arg := range get(t, "Kubernetes").services[1].args {
			if arg == "--listen-client-urls" {
				listens = get(t, "Kubernetes").services[1].args[i+1]
			}
		}
		return listens + "\t" + newName()
	}, func(address string) (renew.Store, error) {
		listens, key, _ := strings.Cut(address, "\t")
		var err error
		once.Do(func() {
			client, err = clientv3.New(clientv3.Config{Endpoints: []string{listens}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		})
		return etcdstore.Store{Client: client, Key: key}, err
	}, storetest.MaxDocument(1<<20))
}
