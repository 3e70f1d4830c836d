//go:build linux

package stores

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

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
	t.Run("sql", func(t *testing.T) {
		e := get(t, "PostgreSQL")
		for _, program := range []string{"sql", "page"} {
			a := postgresAt(e, "esper", "fleet", "")
			db, err := database(a.kind, a.dsn)
			must(t, err)
			execute(t, db, "CREATE SCHEMA "+program, strings.Replace(sqlstore.Schema(sqlstore.PostgreSQL), "esper_keys", program+".esper_keys", 1))
			a.dsn += "&search_path=" + program
			example(t, filepath.Join(folder, program), a.String(), "DATABASE_URL="+a.dsn)
		}
	})
	t.Run("kubernetes", func(t *testing.T) {
		e := get(t, "Kubernetes")
		apply(t, clients(t, e, "admin"), "example", "reader")
		a := secretAt(e, "reader", "esper-key", "")
		a.table = "example"
		config := kubeconfig(t, e, a.table, "reader")
		example(t, filepath.Join(folder, "kubernetes"), a.String(), "KUBECONFIG="+config, "ESPER_KEY_SECRET=esper-key")
	})
}

func example(t *testing.T, program, address string, env ...string) {
	t.Helper()
	server := newServer(t)
	source, err := openSource(t, server, address)
	must(t, err)
	must(t, source.Close())
	store, err := open(address)
	must(t, err)
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

// TestReaderPod has the API server check the pod of reader.yaml, without creating it.
func TestReaderPod(t *testing.T) {
	data, err := os.ReadFile("../esper/renew/kubestore/reader.yaml")
	must(t, err)
	var pod corev1.Pod
	must(t, yaml.UnmarshalStrict(data, &pod))
	_, err = clients(t, get(t, "Kubernetes"), "admin").CoreV1().Pods("fleet").Create(t.Context(), &pod,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	must(t, err)
}
