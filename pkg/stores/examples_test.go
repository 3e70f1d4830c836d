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
)

// TestExamples runs each example program against a slow server: first with an empty store, then after another process
// has renewed the stored key.
func TestExamples(t *testing.T) {
	folder := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", folder+"/", "./examples/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("sql", func(t *testing.T) {
		e := get(t, "PostgreSQL")
		a := postgresAt(e, "esper", "fleet", "")
		db, err := database(a.kind, a.dsn)
		must(t, err)
		execute(t, db, "CREATE SCHEMA example", strings.Replace(sqlstore.Schema(sqlstore.PostgreSQL), "esper_keys", "example.esper_keys", 1))
		a.dsn += "&search_path=example"
		example(t, filepath.Join(folder, "sql"), a.String(), "DATABASE_URL="+a.dsn)
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
	server.Fail(-1, espertest.Fault{Delay: 300 * time.Millisecond})
	run := func(key string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), program)
		c.Env = append(os.Environ(), append(env, "ESPER_ENVIRONMENT="+server.URL, "ESPER_API_KEY="+key)...)
		if out, err := c.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "key ") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	run(server.Token())
	source, err := openSource(t, server, address)
	must(t, err)
	must(t, source.Renew(t.Context()))
	run("")
	if n := processes.Posts(server); n != 1 {
		t.Errorf("%d renewals, want 1", n)
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
