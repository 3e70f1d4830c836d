//go:build linux

package stores

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
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

// apiServer is the environment variable in which `make stores` passes the path of the API server.
const apiServer = "ESPER_KUBE_APISERVER"

// kubernetes starts an API server and an etcd. The user admin has all rights. The other users, fleet, reader and
// nobody, have none. The token of each user is the user's name.
func kubernetes() (*engine, error) {
	program := os.Getenv(apiServer)
	if program == "" {
		return nil, errors.New("there is no Kubernetes API server: run `make stores`")
	}
	etcd, etcdPort, err := newService("etcd", "")
	if err != nil {
		return nil, err
	}
	peers, err := freePort()
	if err != nil {
		return nil, err
	}
	client := "http://127.0.0.1:" + etcdPort
	etcd.args = []string{
		"etcd", "--data-dir", filepath.Join(etcd.folder, "data"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", fmt.Sprintf("http://127.0.0.1:%d", peers), "--log-level", "error",
	}
	etcd.ready = func(ctx context.Context) error { return healthy(ctx, client) }
	server, port, err := newService("kube-apiserver", "")
	if err != nil {
		return nil, err
	}
	key, tokens := filepath.Join(server.folder, "sa.key"), filepath.Join(server.folder, "tokens.csv")
	if err := accountKey(key); err != nil {
		return nil, err
	}
	users := "admin,admin,1,system:masters\nfleet,fleet,2\nreader,reader,3\nnobody,nobody,4\n"
	if err := os.WriteFile(tokens, []byte(users), 0o600); err != nil {
		return nil, err
	}
	server.args = []string{
		program, "--etcd-servers=" + client, "--secure-port=" + port, "--bind-address=127.0.0.1", "--cert-dir=" + server.folder,
		"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
		"--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC", "--token-auth-file=" + tokens,
		"--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount",
	}
	e := &engine{name: "Kubernetes", listens: "127.0.0.1:" + port, services: []*service{server, etcd}}
	e.at = func(name, via string) string { return secretAt(e, "admin", name, via).String() }
	clients, err := clientsAs(secretAt(e, "admin", "", "").dsn)
	if err != nil {
		return nil, err
	}
	server.ready = func(ctx context.Context) error {
		_, err := clients.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	}
	for _, s := range []*service{etcd, server} {
		if err := s.start(); err != nil {
			return nil, err
		}
	}
	version, err := clients.Discovery().ServerVersion()
	if err == nil {
		e.version = version.GitVersion
		_, err = clients.CoreV1().Namespaces().Create(context.Background(),
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fleet"}}, metav1.CreateOptions{})
	}
	return e, err
}

// healthy asks an etcd whether it is ready. An etcd accepts connections before it has read its data.
func healthy(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func accountKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
}

// secretAt returns the address of a Secret in the namespace fleet, for a user.
func secretAt(e *engine, user, name, via string) address {
	if via == "" {
		via = e.listens
	}
	return address{"kubernetes", "https://" + user + "@" + via, "fleet", name}
}

func clientsAs(dsn string) (*kube.Clientset, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	return kube.NewForConfig(&rest.Config{
		Host: "https://" + u.Host, BearerToken: u.User.Username(), QPS: -1, // no limit: the tests measure the API server
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	})
}

func openSecret(a address) (renew.Store, error) {
	if clients, ok := pools.Load(a.dsn); ok {
		return kubestore.New(clients.(*kube.Clientset).CoreV1().Secrets(a.table), a.name), nil
	}
	clients, err := clientsAs(a.dsn)
	if err != nil {
		return nil, err
	}
	pools.Store(a.dsn, clients)
	return kubestore.New(clients.CoreV1().Secrets(a.table), a.name), nil
}

// clients returns clients that call the API as a user.
func clients(t *testing.T, e *engine, user string) *kube.Clientset {
	t.Helper()
	clients, err := clientsAs(secretAt(e, user, "", "").dsn)
	must(t, err)
	return clients
}
