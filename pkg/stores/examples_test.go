//go:build linux

package stores

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/internal/processes"
	"github.com/esper-go/esper-go/pkg/internal/published"
)

// TestExamples ends the example of each store in the middle of a renewal, in each way. The store then has the server's
// key.
func TestExamples(t *testing.T) {
	inSQL := published.Example(t, "../esper/renew/sqlstore/example_test.go", "ExampleNew")
	inSecret := published.Example(t, "../esper/renew/kubestore/example_test.go", "ExampleNew")
	folder := published.Build(t, map[string]string{
		"sql": strings.NewReplacer("package main\n", "package main\nimport _ \"github.com/jackc/pgx/v5/stdlib\"\n",
			`"host=db1,db2 dbname=ops target_session_attrs=read-write"`, `os.Getenv("DATABASE_URL")`).Replace(inSQL),
		"kubernetes": strings.NewReplacer(`Secrets("fleet")`, `Secrets("example")`, "rest.InClusterConfig()", // in place of a pod's settings
			`&rest.Config{Host: os.Getenv("API_SERVER"), BearerToken: "fleet", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, error(nil)`).Replace(inSecret),
	})
	e := get(t, "PostgreSQL")
	row := e.as("esper", "fleet")
	example(t, filepath.Join(folder, "sql"), row.String(), "DATABASE_URL="+row.dsn)
	e = get(t, "Kubernetes")
	namespace(t, e, "example")
	apply(t, e, "example", "../esper/renew/kubestore/role.yaml", func(o *unstructured.Unstructured) {
		if verbs := fmt.Sprint(o.Object["rules"]); o.GetKind() == "Role" && !strings.Contains(verbs, "verbs:[get update]") {
			t.Errorf("the role must have the verbs get and update: %s", verbs)
		}
		if o.GetKind() == "RoleBinding" { // in place of the ServiceAccount
			o.Object["subjects"] = []any{map[string]any{"kind": "User", "name": "fleet", "apiGroup": rbacv1.GroupName}}
		}
	})
	mayUpdate(t, e, "fleet", "example", "esper-key")
	secret := e.as("fleet", "esper-key")
	secret.table = "example"
	example(t, filepath.Join(folder, "kubernetes"), secret.String(), "API_SERVER=https://"+e.listens)
}

func example(t *testing.T, program, address string, env ...string) {
	t.Helper()
	server := newServer(t)
	source, err := openSource(t, server, address)
	must(t, err)
	must(t, source.Close())
	store := storeAt(t, address)
	server.FailOperation("renewToken", -1, espertest.Fault{Delay: time.Second, Handled: true})
	for i, ending := range published.Endings() {
		edit(t, store, due)
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Env = append(os.Environ(), env...)
		life := published.Life{Server: server, Cmd: cmd, Ending: ending, Before: i}
		out := life.Live(t)
		document, _, err := store.Load(t.Context())
		must(t, err)
		if n := processes.Posts(server); n != i+1 || !strings.Contains(string(document), `"`+server.Token()+`"`) {
			t.Errorf("%v: after %d renewals, want %d, the key is lost\n%s", life, n, i+1, out)
		}
	}
}
