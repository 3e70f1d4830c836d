//go:build linux

package stores

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
)

// kubernetes starts an API server, whose path `make stores` passes, and an etcd. The user admin has all rights. The
// other users, fleet, reader and nobody, have none. The token of each user is the user's name.
func kubernetes(t *testing.T) *engine {
	t.Helper()
	program := os.Getenv("ESPER_KUBE_APISERVER")
	if program == "" {
		t.Fatal("there is no Kubernetes API server: run `make stores`")
	}
	etcd, etcdPort := newService(t, "etcd")
	client := "http://127.0.0.1:" + etcdPort
	etcd.args = []string{
		"etcd", "--data-dir", filepath.Join(etcd.folder, "data"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", "http://127.0.0.1:" + freePort(t), "--log-level", "error",
	}
	etcd.ready = func(context.Context) error { // the API server waits for more
		conn, err := net.Dial("tcp", "127.0.0.1:"+etcdPort)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	server, port := newService(t, "kube-apiserver")
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
	e.dsn = func(account, listens string) string { return "https://" + account + "@" + listens }
	admin := clients(t, e, "admin")
	server.ready = func(ctx context.Context) error {
		_, err := admin.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	}
	e.start(t)
	version, err := admin.Discovery().ServerVersion()
	must(t, err)
	e.version = version.GitVersion
	namespace(t, e, "fleet")
	return e
}

func namespace(t *testing.T, e *engine, name string) {
	t.Helper()
	_, err := clients(t, e, "admin").CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(t, err)
}

// configAs is for a client that calls the API as the user of a DSN.
func configAs(dsn string) (*rest.Config, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: "https://" + u.Host, BearerToken: u.User.Username(), QPS: -1, // no limit: the tests measure the API server
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	}, nil
}

func clientsAs(dsn string) (*kube.Clientset, error) {
	if clients, ok := pools.Load(dsn); ok {
		return clients.(*kube.Clientset), nil
	}
	config, err := configAs(dsn)
	if err != nil {
		return nil, err
	}
	clients, err := kube.NewForConfig(config)
	if err == nil {
		pools.Store(dsn, clients)
	}
	return clients, err
}

func openSecret(a address) (renew.Store, error) {
	clients, err := clientsAs(a.dsn)
	if err != nil {
		return nil, err
	}
	return kubestore.New(clients.CoreV1().Secrets(a.table), a.name), nil
}

// clients returns clients that call the API as a user.
func clients(t *testing.T, e *engine, user string) *kube.Clientset {
	t.Helper()
	clients, err := clientsAs(e.dsn(user, e.listens))
	must(t, err)
	return clients
}
