//go:build linux

package stores

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	authv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	kube "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// kubernetes starts an API server, whose path `make stores` passes, and an etcd. The user admin has all rights. The
// other users, fleet, reader and nobody, have none. The token of each user is the user's name.
func kubernetes(t *testing.T) *engine {
	t.Helper()
	program := os.Getenv("ESPER_KUBE_APISERVER")
	if program == "" {
		t.Fatal("there is no Kubernetes API server: run `make stores`")
	}
	etcd, etcdPort := newService(t)
	client := "http://127.0.0.1:" + etcdPort
	etcd.args = []string{
		"etcd", "--data-dir", filepath.Join(etcd.folder, "data"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", "http://127.0.0.1:" + freePort(t), "--log-level", "error",
	}
	etcd.ready = func(context.Context) error { return nil } // the API server waits for it
	server, port := newService(t)
	key, tokens := filepath.Join(server.folder, "key.pem"), filepath.Join(server.folder, "tokens.csv")
	must(t, os.WriteFile(tokens, []byte("admin,admin,1,system:masters\nfleet,fleet,2\nreader,reader,3\nnobody,nobody,4\n"), 0o600))
	server.asRoot = true // its program lies in the checkout, which others may not be able to read
	server.args = []string{
		program, "--etcd-servers=" + client, "--secure-port=" + port, "--bind-address=127.0.0.1", "--cert-dir=" + server.folder,
		"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
		"--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC", "--token-auth-file=" + tokens,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
	}
	e := &engine{kind: "kubernetes", root: "admin", listens: "127.0.0.1:" + port, services: []*service{etcd, server}}
	e.dsn = func(account, listens string) string { return "https://" + account + "@" + listens + "/fleet" }
	admin := clients(t, e, "admin")
	server.ready = func(ctx context.Context) error {
		_, err := admin.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	}
	e.start(t)
	version, err := admin.Discovery().ServerVersion()
	must(t, err)
	e.version = version.GitVersion
	e.apply(t, "", "{apiVersion: v1, kind: Namespace, metadata: {name: fleet}}")
	return e
}

// configAs is for a client that calls the API as the user of a DSN.
func configAs(dsn string) *rest.Config {
	user, at, _ := strings.Cut(strings.TrimPrefix(dsn, "https://"), "@")
	return &rest.Config{Host: "https://" + path.Dir(at), BearerToken: user, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func clientsAs(dsn string) (*kube.Clientset, error) {
	return pooled(dsn, func() (*kube.Clientset, error) { return kube.NewForConfig(configAs(dsn)) })
}

// clients returns clients that call the API as a user.
func clients(t *testing.T, e *engine, user string) *kube.Clientset {
	t.Helper()
	clients, err := clientsAs(e.dsn(user, e.listens))
	must(t, err)
	return clients
}

// apply applies manifests, as kubectl apply --server-side does, which refuses unknown fields.
func (e *engine) apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	admin, err := dynamic.NewForConfig(configAs(e.dsn(e.root, e.listens)))
	must(t, err)
	for in := yaml.NewYAMLToJSONDecoder(strings.NewReader(manifests)); ; {
		var o unstructured.Unstructured
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		kind, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		var api dynamic.ResourceInterface = admin.Resource(kind).Namespace(namespace)
		if o.GetKind() == "Namespace" {
			api = admin.Resource(kind)
		}
		_, err := api.Apply(t.Context(), o.GetName(), &o, metav1.ApplyOptions{FieldManager: "test", Force: true})
		must(t, err)
	}
}

// rights returns what a user may do with Secrets.
func rights(t *testing.T, e *engine, user, namespace string) string {
	t.Helper()
	review, err := clients(t, e, user).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	must(t, err)
	var found []string
	for _, rule := range review.Status.ResourceRules {
		if slices.Contains(rule.Resources, "secrets") || slices.Contains(rule.Resources, "*") {
			found = append(found, fmt.Sprint(rule.Verbs, rule.ResourceNames))
		}
	}
	return strings.Join(found, ", ")
}

// kubeconfig writes a file with which esper-key calls the API as a user.
func kubeconfig(t *testing.T, e *engine, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: test}}]
clusters: [{name: test, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: %s}}]
`, e.listens, token), 0o600))
	return "KUBECONFIG=" + file
}

// read returns the text of a file.
func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	return string(data)
}

const manifests = "../examples/deploy/kubernetes/"

// TestManifests applies the manifests for operators to a real API server. It runs the command of the Deployment's pod,
// with the pod's service account, which must have the rights that the command needs and no others. Then it checks that
// the consumer's volume would have the new key.
func TestManifests(t *testing.T) {
	e, server, ctx := get(t, "Kubernetes"), newServer(t), t.Context()
	admin := clients(t, e, e.root)
	for _, file := range []string{manifests + "esper-key.yaml", manifests + "consumer.yaml", "../esper/renew/kubestore/reader.yaml"} {
		e.apply(t, "fleet", read(t, file))
	}
	deployment, err := admin.AppsV1().Deployments("fleet").Get(ctx, "esper-key", metav1.GetOptions{})
	must(t, err)
	consumer, err := admin.CoreV1().Pods("fleet").Get(ctx, "consumer", metav1.GetOptions{})
	must(t, err)
	pod := deployment.Spec.Template.Spec
	if grace := pod.TerminationGracePeriodSeconds; grace == nil || *grace != 120 {
		t.Error("a pod does not have 120 seconds to stop")
	}
	token, err := admin.CoreV1().ServiceAccounts("fleet").CreateToken(ctx, pod.ServiceAccountName, new(authv1.TokenRequest), metav1.CreateOptions{})
	must(t, err)
	config := kubeconfig(t, e, token.Status.Token)

	first := t.TempDir()
	must(t, os.WriteFile(filepath.Join(first, "api-key"), []byte(server.Token()), 0o600))
	env := append(os.Environ(), config)
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
	service.Env, service.Stderr = env, os.Stderr
	must(t, service.Start())
	until(t, "the Secret has the key", func() bool {
		_, code := esperKey(t, server, "kubernetes://fleet/esper-key", []string{config}, "token", "--read-only")
		return code == 0
	})
	if printed, code := esperKey(t, server, "kubernetes://fleet/esper-key", []string{config}, "renew", "--now"); code != 0 {
		t.Error(printed)
	}
	must(t, service.Process.Signal(syscall.SIGTERM))
	must(t, service.Wait())

	// The consumer's volume has the entries of the Secret as files.
	secret, err := admin.CoreV1().Secrets("fleet").Get(ctx, consumer.Spec.Volumes[0].Secret.SecretName, metav1.GetOptions{})
	must(t, err)
	file := consumer.Spec.Containers[0].Env[0].Value
	var document struct{ Key string }
	must(t, json.Unmarshal(secret.Data[filepath.Base(file)], &document))
	if document.Key != server.Token() || processes.Posts(server) != 1 || filepath.Dir(file) != consumer.Spec.Containers[0].VolumeMounts[0].MountPath {
		t.Errorf("the consumer does not get the new key, after %d renewals", processes.Posts(server))
	}

	if got := rights(t, e, token.Status.Token, "fleet"); got != "[get update] [esper-key]" {
		t.Errorf("the rights to Secrets are %s", got)
	}
}
