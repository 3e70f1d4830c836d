//go:build linux

package stores

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestURLs gives esper-key the URL of a row or a Secret in each engine, in each way in which it can be written.
func TestURLs(t *testing.T) {
	on(t, stores+" PgBouncer", func(t *testing.T, e *engine) {
		server, name := newServer(t), newName()
		type given struct{ url, env string }
		urls := []given{{url: "sqlite://" + e.socket + "?name=" + name}}
		key := "name=" + name
		switch e.kind {
		case "pgx":
			_, port, _ := strings.Cut(e.listens, ":")
			socket := key + "&socket=" + e.socket + "/.s.PGSQL." + port
			urls = []given{
				{"postgres://" + e.listens + "/postgres?sslmode=disable&" + key, "PGUSER=esper"}, // as the driver reads it
				{url: e.url("esper", "", socket)}, {url: e.url("esper", "localhost", socket)},
			}
			if e.name == "PgBouncer" {
				urls = urls[:1]
			}
		case "mysql":
			e.execute(t, "CREATE USER operator IDENTIFIED BY 'a word'", "GRANT SELECT, INSERT, UPDATE ON mysql.esper_keys TO operator")
			socket := key + "&socket=" + e.socket
			urls = []given{
				{e.url("operator", e.listens, key), "MYSQL_PWD=a word"},
				{url: e.url("operator:a%20word", e.listens, key)},
				{url: e.url("root", "", socket)},
				{url: e.url("root", "localhost", socket)},
			}
		case "kubernetes":
			urls = []given{{"kubernetes://fleet/" + name, "KUBECONFIG=" + kubeconfig(t, e, "fleet", "admin")}}
		}
		for i, at := range urls {
			commands := []string{"renew --now", "token", "show", "check"}
			if i == 0 {
				commands = append([]string{"adopt"}, commands...)
			}
			for _, command := range commands {
				printed, code := esperKey(t, server, at.url, []string{at.env}, strings.Fields(command)...)
				if code != 0 || command == "token" && printed != server.Token() {
					t.Errorf("%s, %s: %d, %s", at.url, command, code, printed)
				}
			}
		}
	})
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

const manifests = "../examples/deploy/kubernetes/"

// TestManifests applies the manifests for operators to a real API server. It runs the command of the Deployment's pod,
// with the pod's service account, which must have the rights that the command needs and no others. Then it checks that
// the consumer's volume would have the new key.
func TestManifests(t *testing.T) {
	e, server, ctx := get(t, "Kubernetes"), newServer(t), t.Context()
	admin := clients(t, e, "admin")
	var deployment appsv1.Deployment
	var consumer corev1.Pod
	into := func(objects ...any) func(o *unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			for _, object := range objects {
				if kind := fmt.Sprintf("%T", object); strings.HasSuffix(kind, "."+o.GetKind()) {
					must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, object))
				}
			}
		}
	}
	apply(t, e, "fleet", manifests+"esper-key.yaml", into(&deployment))
	apply(t, e, "fleet", manifests+"consumer.yaml", into(&consumer))
	apply(t, e, "fleet", "../esper/renew/kubestore/reader.yaml", into())
	pod := deployment.Spec.Template.Spec
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
	var log bytes.Buffer
	service.Env, service.Stderr = env, &log
	must(t, service.Start())
	secretName := consumer.Spec.Volumes[0].Secret.SecretName
	eventually(t, func() error {
		secret, err := admin.CoreV1().Secrets("fleet").Get(ctx, secretName, metav1.GetOptions{})
		if err == nil && len(secret.Data) == 0 {
			err = errors.New("the Secret is empty")
		}
		return err
	})
	if printed, code := esperKey(t, server, "kubernetes://fleet/esper-key", []string{"KUBECONFIG=" + config}, "renew", "--now"); code != 0 {
		t.Error(printed)
	}
	must(t, service.Process.Signal(syscall.SIGTERM))
	if err := service.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &log)
	}

	// The consumer's volume has the entries of the Secret as files.
	secret, err := admin.CoreV1().Secrets("fleet").Get(ctx, secretName, metav1.GetOptions{})
	must(t, err)
	path := consumer.Spec.Containers[0].Env[0].Value
	var document struct{ Key string }
	must(t, json.Unmarshal(secret.Data[filepath.Base(path)], &document))
	if document.Key != server.Token() || processes.Posts(server) != 1 || filepath.Dir(path) != consumer.Spec.Containers[0].VolumeMounts[0].MountPath {
		t.Errorf("the consumer does not get the new key, after %d renewals", processes.Posts(server))
	}

	review, err := clients(t, e, token.Status.Token).AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "fleet"},
	}, metav1.CreateOptions{})
	must(t, err)
	var rights []string
	for _, rule := range review.Status.ResourceRules {
		if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") {
			rights = append(rights, fmt.Sprint(rule.Verbs, rule.ResourceNames))
		}
	}
	if got := strings.Join(rights, ", "); got != "[get update] [esper-key]" {
		t.Errorf("the rights to Secrets are %s", got)
	}
}
