// Package kubestore keeps the document of package renew in a Kubernetes Secret, for pods that share a key.
// It is a Go module of its own, so that others do not get client-go.
//
//	config, err := rest.InClusterConfig()
//	…
//	clients, err := kubernetes.NewForConfig(config)
//	…
//	store := kubestore.New(clients.CoreV1().Secrets("fleet"), "esper-key")
//	source, err := renew.Open(ctx, environment, store, renew.WithInitialToken(key))
//
// # Rights
//
// A pod that renews needs get and update on the one Secret, and one that only reads (renew.ReadOnly) get. The
// Secret is made beforehand, empty: the right to create cannot be limited to a name. Where the role has create
// as well, a Secret that is missing is made. The file role.yaml beside this package has the Secret, the Role
// and its binding.
//
// # Reading without the API
//
// A pod that only reads can mount the Secret as a volume and use renew.File with renew.ReadOnly; that needs no
// right and no API server. The kubelet brings a new key a minute or more after the renewal, and never into a
// volume that is mounted with subPath. Until then the old key gets 401 from Esper. Use kubestore with
// renew.ReadOnly where that is too long: it looks at once when a key is refused.
//
// # What a Secret holds
//
// A Secret holds 1 MiB, the document 2 KiB as a rule. A document with an answer of the server in it that could
// not be read may not fit; Save fails then, and says so. An immutable Secret cannot be used.
//
// Secrets are plain text in etcd unless the cluster encrypts them, and whoever may get the Secret has the key.
// Errors of this package do not quote the document, and wrap no error of the API.
package kubestore

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	defaultKey = "key.json"
	// maxData is what the API server takes as the data of a Secret, in bytes.
	maxData = corev1.MaxSecretSize
)

// Option changes what [New] makes.
type Option func(*store)

// WithDataKey names the entry of the Secret's data that is the document, "key.json" by default. In a volume it
// is the file's name.
func WithDataKey(key string) Option { return func(s *store) { s.key = key } }

// New returns a store in the Secret of this name. It sends nothing: renew.Open proves that the store works, and
// its error says which right is missing. A nil client or a bad name is an error of every method, and
// [esper.ErrInvalidArgument] from renew.Open.
//
// The Secret's other data, labels and owners stay as they are. Each call is one or two requests: Load gets the
// Secret, from etcd and not from a cache, and Save gets and updates it, under the condition that nothing of it
// has changed. The version is the Secret's resourceVersion. A change of a label makes a new version, too, which
// the Source sees through. Client-go waits and repeats when the API server answers 429. A call ends with its
// context. The store is safe for concurrent use.
func New(secrets typed.SecretInterface, name string, opts ...Option) renew.Store {
	s := &store{secrets: secrets, name: name, key: defaultKey}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

type store struct {
	secrets   typed.SecretInterface
	name, key string
}

// String names the store in errors.
func (s *store) String() string { return fmt.Sprintf("the Secret %q", s.name) }

// CheckArguments is called by renew.Open.
func (s *store) CheckArguments() error {
	text := ""
	switch problems, inKey := validation.IsDNS1123Subdomain(s.name), validation.IsConfigMapKey(s.key); {
	case s.secrets == nil:
		text = "the client for Secrets is nil"
	case len(problems) > 0:
		text = fmt.Sprintf("%q cannot be the name of a Secret: %s", s.name, strings.Join(problems, "; "))
	case len(inKey) > 0:
		text = fmt.Sprintf("%q cannot be a key in a Secret's data: %s", s.key, strings.Join(inKey, "; "))
	default:
		return nil
	}
	return &failure{text: text, permanent: true}
}

// get returns the Secret, and nil if there is none.
func (s *store) get(ctx context.Context) (*corev1.Secret, error) {
	if err := s.CheckArguments(); err != nil {
		return nil, err
	}
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{}) // without a resourceVersion: the newest there is
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, s.failure(ctx, "get", err, nil)
	}
	return secret, nil
}

// Load implements [renew.Store].
func (s *store) Load(ctx context.Context) (document []byte, version string, err error) {
	secret, err := s.get(ctx)
	if err != nil || secret == nil || len(secret.Data[s.key]) == 0 {
		return nil, "", err
	}
	return secret.Data[s.key], secret.ResourceVersion, nil
}

// Save implements [renew.Store].
func (s *store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	if len(document) == 0 {
		return "", &failure{text: "the document is empty", permanent: true}
	}
	secret, err := s.get(ctx)
	switch {
	case err != nil:
		return "", err
	case secret == nil && version != "":
		return "", renew.ErrConflict
	case secret == nil:
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.name}, Type: corev1.SecretTypeOpaque}
	case version == "" && len(secret.Data[s.key]) > 0, version != "" && version != secret.ResourceVersion:
		return "", renew.ErrConflict
	case secret.Immutable != nil && *secret.Immutable:
		return "", &failure{text: "it is immutable; delete it, and make an empty one that is not", permanent: true}
	}
	size := len(document)
	for key, value := range secret.Data {
		if key != s.key {
			size += len(value)
		}
	}
	if size > maxData {
		return "", &failure{text: fmt.Sprintf("its data would be %d bytes, and the API server takes %d; keep the other data elsewhere", size, maxData), permanent: true}
	}
	if secret.Data == nil {
		secret.Data = make(map[string][]byte)
	}
	secret.Data[s.key] = document
	doing := "update"
	var saved *corev1.Secret
	if secret.ResourceVersion == "" {
		doing = "create"
		saved, err = s.secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		saved, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	switch {
	case err == nil:
		return saved.ResourceVersion, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), doing == "update" && apierrors.IsNotFound(err):
		return "", renew.ErrConflict
	}
	return "", s.failure(ctx, doing, err, document)
}
