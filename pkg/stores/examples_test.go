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
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/processes"
	"github.com/esper-go/esper-go/pkg/internal/published"
)

// TestExamples ends each example program in the middle of a renewal, in each way. The store then has the server's key.
func TestExamples(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(name)
		must(t, err)
		return string(data)
	}
	page := published.Example(t, "../esper/renew/sqlstore/example_test.go", "ExampleNew")
	folder := published.Build(t, map[string]string{
		"sql":        read("examples/sql/main.go"),
		"kubernetes": read("examples/kubernetes/main.go"),
		"page": strings.NewReplacer("package main\n", "package main\nimport _ \"github.com/jackc/pgx/v5/stdlib\"\n",
			`"host=db1,db2 dbname=ops target_session_attrs=read-write"`, `os.Getenv("DATABASE_URL")`).Replace(page),
	})
	e := get(t, "PostgreSQL")
	for _, program := range []string{"sql", "page"} {
		a := e.as("esper", "fleet")
		e.execute(t, "CREATE SCHEMA "+program, strings.Replace(sqlstore.Schema(sqlstore.PostgreSQL), "esper_keys", program+".esper_keys", 1))
		a.dsn += "&search_path=" + program
		example(t, filepath.Join(folder, program), a.String(), "DATABASE_URL="+a.dsn)
	}
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
	a := e.as("fleet", "esper-key")
	a.table = "example"
	example(t, filepath.Join(folder, "kubernetes"), a.String(), "KUBECONFIG="+kubeconfig(t, e, "example", "fleet"), "ESPER_KEY_SECRET=esper-key")
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
