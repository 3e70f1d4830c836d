//go:build linux

package stores

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	kube "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestCommand runs esper-key with the URL of a store in each engine. Twenty processes at the same time make one
// renewal.
func TestCommand(t *testing.T) {
	on(t, func(t *testing.T, e *engine) {
		server := newServer(t)
		name := newName()
		var url string
		var env []string
		switch e.name {
		case "PostgreSQL", "PgBouncer":
			url = "postgres://" + e.listens + "/postgres?sslmode=disable&name=" + name
			env = []string{"PGUSER=esper"} // what the URL leaves out comes from the driver's own variables
		case "MariaDB", "MySQL":
			db, _ := admin(t, e)
			execute(t, db, "CREATE USER operator IDENTIFIED BY 'a word'", "GRANT SELECT, INSERT, UPDATE ON mysql.esper_keys TO operator")
			url = "mysql://operator@" + e.listens + "/mysql?name=" + name
			env = []string{"MYSQL_PWD=a word"}
		case "SQLite":
			url = "sqlite://" + filepath.Join(e.folder, "keys.db") + "?name=" + name
		case "File":
			url = "file://" + filepath.Join(e.folder, name)
		case "Kubernetes":
			url = "kubernetes://fleet/" + name
			env = []string{"KUBECONFIG=" + kubeconfig(t, e, "fleet", "admin")}
		}
		run := func(url, command string) string {
			t.Helper()
			printed, code := esperKey(t, server, url, env, command)
			if code != 0 {
				t.Errorf("%s: %d, %s", command, code, printed)
			}
			return printed
		}
		run(url, "adopt")
		store, err := open(e.at(name, ""))
		must(t, err)
		edit(t, store, due)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if key := run(url, "token"); key != server.Token() {
					t.Errorf("token: %q", key)
				}
			})
		}
		all.Wait()
		if n := processes.Posts(server); n != 1 {
			t.Errorf("%d renewals, want 1", n)
		}
		run(url, "show")
		if strings.HasPrefix(url, "mysql:") { // the password may be in the URL instead
			url, env = strings.Replace(url, "operator@", "operator:a%20word@", 1), []string{"MYSQL_PWD="}
		}
		run(url, "check")
	}, "PgBouncer")
}

// due makes the key of a document end in a day.
func due(d map[string]any) {
	d["issued_at"], d["expires_at"] = time.Now().Add(-80*24*time.Hour), time.Now().Add(24*time.Hour)
	delete(d, "renewed_at")
}

// edit changes the document in a store. If an engine still carries out a statement of a killed process, edit begins again:
// whatever comes after its save is a conflict.
func edit(t *testing.T, store renew.Store, change func(map[string]any)) {
	t.Helper()
	for err := renew.ErrConflict; errors.Is(err, renew.ErrConflict); {
		document, version, loadErr := store.Load(t.Context())
		must(t, loadErr)
		var d map[string]any
		must(t, json.Unmarshal(document, &d))
		change(d)
		document, err = json.Marshal(d)
		must(t, err)
		if _, err = store.Save(t.Context(), document, version); !errors.Is(err, renew.ErrConflict) {
			must(t, err)
		}
	}
}

func kubeconfig(t *testing.T, e *engine, namespace, token string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(path, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test, namespace: %s}}]
clusters: [{name: test, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: %s}}]
`, namespace, e.listens, token), 0o600))
	return path
}

const manifests = "../examples/deploy/kubernetes"

// TestManifests applies the manifests for operators to a real API server. It runs the command of the Deployment's pod,
// with the pod's service account, which must have the rights that the command needs and no others. Then it checks that
// the consumer's volume would have the new key.
func TestManifests(t *testing.T) {
	e := get(t, "Kubernetes")
	server := newServer(t)
	admin := clients(t, e, "admin")
	ctx, strict := t.Context(), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	f, err := os.Open(filepath.Join(manifests, "esper-key.yaml"))
	must(t, err)
	defer func() { _ = f.Close() }()
	var pod corev1.PodSpec
	for documents := yaml.NewYAMLReader(bufio.NewReader(f)); ; {
		data, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		var kind metav1.TypeMeta
		must(t, yaml.Unmarshal(data, &kind))
		switch kind.Kind {
		case "Secret":
			var o corev1.Secret
			must(t, yaml.UnmarshalStrict(data, &o))
			_, err = admin.CoreV1().Secrets("fleet").Create(ctx, &o, strict)
		case "ServiceAccount":
			var o corev1.ServiceAccount
			must(t, yaml.UnmarshalStrict(data, &o))
			_, err = admin.CoreV1().ServiceAccounts("fleet").Create(ctx, &o, strict)
		case "Role":
			var o rbacv1.Role
			must(t, yaml.UnmarshalStrict(data, &o))
			_, err = admin.RbacV1().Roles("fleet").Create(ctx, &o, strict)
		case "RoleBinding":
			var o rbacv1.RoleBinding
			must(t, yaml.UnmarshalStrict(data, &o))
			_, err = admin.RbacV1().RoleBindings("fleet").Create(ctx, &o, strict)
		case "Deployment":
			var o appsv1.Deployment
			must(t, yaml.UnmarshalStrict(data, &o))
			_, err = admin.AppsV1().Deployments("fleet").Create(ctx, &o, strict)
			pod = o.Spec.Template.Spec
		default:
			t.Errorf("this test cannot apply a %s", kind.Kind)
		}
		must(t, err)
	}
	if grace := pod.TerminationGracePeriodSeconds; grace == nil || *grace != 120 {
		t.Error("a pod does not have 120 seconds to stop")
	}
	token, err := admin.CoreV1().ServiceAccounts("fleet").CreateToken(ctx, pod.ServiceAccountName, new(authv1.TokenRequest), metav1.CreateOptions{})
	must(t, err)
	config := kubeconfig(t, e, "fleet", token.Status.Token)

	first := t.TempDir()
	must(t, os.WriteFile(filepath.Join(first, "api-key"), []byte(server.Token()), 0o600))
	env := append(os.Environ(), "KUBECONFIG="+config)
	for _, v := range pod.Containers[0].Env {
		env = append(env, v.Name+"="+strings.Replace(v.Value, "foo", server.URL, 1))
	}
	replace := strings.NewReplacer("/first/", first+"/", "0.0.0.0:9464", "127.0.0.1:0")
	program, err := program()
	must(t, err)
	service := exec.CommandContext(ctx, program)
	for _, arg := range pod.Containers[0].Args {
		service.Args = append(service.Args, replace.Replace(arg))
	}
	service.Env = env
	log, err := service.StderrPipe()
	must(t, err)
	must(t, service.Start())
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "keeps the key renewed") {
		t.Log(lines.Text())
	}
	renewal := exec.CommandContext(ctx, program, "renew", "--now")
	renewal.Env = env
	out, err := renewal.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	must(t, service.Process.Signal(syscall.SIGTERM))
	for lines.Scan() {
		t.Log(lines.Text())
	}
	must(t, service.Wait())

	// The consumer's volume has the entries of the Secret as files.
	var consumer corev1.Pod
	data, err := os.ReadFile(filepath.Join(manifests, "consumer.yaml"))
	must(t, err)
	must(t, yaml.UnmarshalStrict(data, &consumer))
	_, err = admin.CoreV1().Pods("fleet").Create(ctx, &consumer, strict)
	must(t, err)
	secret, err := admin.CoreV1().Secrets("fleet").Get(ctx, consumer.Spec.Volumes[0].Secret.SecretName, metav1.GetOptions{})
	must(t, err)
	path := consumer.Spec.Containers[0].Env[0].Value
	var document struct{ Key string }
	must(t, json.Unmarshal(secret.Data[filepath.Base(path)], &document))
	if document.Key != server.Token() || processes.Posts(server) != 1 || filepath.Dir(path) != consumer.Spec.Containers[0].VolumeMounts[0].MountPath {
		t.Errorf("the consumer does not get the new key, after %d renewals", processes.Posts(server))
	}

	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "of-another-program"}}
	_, err = admin.CoreV1().Secrets("fleet").Create(ctx, other, metav1.CreateOptions{})
	must(t, err)
	rest, err := clientcmd.BuildConfigFromFlags("", config)
	must(t, err)
	account, err := kube.NewForConfig(rest)
	must(t, err)
	secrets := account.CoreV1().Secrets("fleet")
	_, getErr := secrets.Get(ctx, other.Name, metav1.GetOptions{})
	_, listErr := secrets.List(ctx, metav1.ListOptions{})
	_, createErr := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "more"}}, metav1.CreateOptions{})
	deleteErr := secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{})
	for what, err := range map[string]error{"get another": getErr, "list": listErr, "create": createErr, "delete": deleteErr} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
