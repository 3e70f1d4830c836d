// Package kubestore stores the document of package renew in a Kubernetes Secret, so that pods can share a key.
// It is a Go module of its own, so that only its users depend on client-go.
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
// A pod that renews needs the verbs get and update on this one Secret. A pod that only reads (renew.ReadOnly) needs
// get. Create the Secret beforehand, empty, because a Role cannot limit the verb create to one name. If the Role has
// create as well, the store creates a missing Secret. The file role.yaml beside this package has the Secret, the Role
// and its binding.
//
// # Reading without the API
//
// A pod that only reads can mount the Secret as a volume and use renew.File with renew.ReadOnly. It then needs no
// rights and no API server. The kubelet updates the volume a minute or more after a renewal, and never updates a
// volume that is mounted with subPath. Until then the pod has the old key, and Esper may answer 401. If that is too
// long, use kubestore with renew.ReadOnly: it reads the Secret as soon as Esper refuses the key.
//
// # What a Secret holds
//
// A Secret holds 1 MiB, and the document is usually about 2 KiB. A document that keeps an answer from Esper that could
// not be parsed is larger, and may not fit: then the error of Save says so. Save refuses a Secret that is immutable or
// is being deleted.
//
// Secrets are plain text in etcd unless the cluster encrypts them. Whoever may get the Secret can read the key. Errors
// of this package quote no part of the document and wrap no error of the API.
package kubestore

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

const (
	defaultKey = "key.json"
	// maxData is the API server's limit on the data of a Secret, in bytes.
	maxData = corev1.MaxSecretSize
)

// Option changes what [New] makes.
type Option func(*store)

// WithDataKey sets the entry of the Secret's data that holds the document, "key.json" by default. In a mounted volume,
// the file has this name.
func WithDataKey(key string) Option { return func(s *store) { s.key = key } }

// New returns a store that uses the Secret of this name. New sends no request. renew.Open checks that the store works,
// and its error names the missing right. For a nil client or a bad name every method returns an error, and renew.Open
// returns [esper.ErrInvalidArgument].
//
// Load gets the Secret, from etcd and not from a cache. Save gets the Secret and updates it, on the condition that
// nothing in it has changed in between. The Secret's other data, its labels and its owners stay as they are.
//
// The version is the Secret's resourceVersion, which also changes with a label. A save then ends in a conflict, after
// which the Source reads the document again and repeats the save. Client-go waits and repeats a request that the API
// server answered with 429. A call ends with its context. The store is safe for concurrent use.
func New(secrets typed.SecretInterface, name string, opts ...Option) renew.Store {
	s := &store{secrets: secrets, name: name, key: defaultKey, told: true}
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

	mu      sync.Mutex
	problem string // why Save would refuse the Secret that Load got last, or ""
	told    bool   // Warnings has returned it
}

// String names the store in errors.
func (s *store) String() string { return fmt.Sprintf("the Secret %q", s.name) }

// CheckArguments returns an error for a nil client or a bad name. renew.Open calls it.
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

// get returns the Secret, or nil if there is none.
func (s *store) get(ctx context.Context) (*corev1.Secret, error) {
	if err := s.CheckArguments(); err != nil {
		return nil, err
	}
	secret, err := s.secrets.Get(ctx, s.name, metav1.GetOptions{}) // no resourceVersion: the newest Secret
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil is not an error here: there is no Secret
	}
	if err != nil {
		return nil, s.failure(ctx, "get", err)
	}
	return secret, nil
}

// Load implements [renew.Store].
func (s *store) Load(ctx context.Context) (document []byte, version string, err error) {
	secret, err := s.get(ctx)
	if err != nil || secret == nil || len(secret.Data[s.key]) == 0 {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if problem := unfit(secret); problem != s.problem {
		s.problem, s.told = problem, problem == ""
	}
	return secret.Data[s.key], secret.ResourceVersion, nil
}

// unfit says why a Secret can keep no new key, or "".
func unfit(secret *corev1.Secret) string {
	switch {
	case secret.DeletionTimestamp != nil:
		return fmt.Sprintf("it is being deleted, and a key in it would vanish with it; wait until its finalizers (%s) have let it go, then create it again", strings.Join(secret.Finalizers, ", "))
	case secret.Immutable != nil && *secret.Immutable:
		return "it is immutable; delete it, and create an empty one that is not immutable"
	}
	return ""
}

// Warnings returns what a person should know about the Secret, once. Package renew logs it.
func (s *store) Warnings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told {
		return nil
	}
	s.told = true
	return []string{s.String() + " can keep no new key: " + s.problem}
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
	case unfit(secret) != "":
		return "", &failure{text: unfit(secret), permanent: true}
	}
	old, size := secret.Data[s.key], len(document)
	for key, value := range secret.Data {
		if key != s.key {
			size += len(value)
		}
	}
	if size > maxData {
		return "", &failure{text: fmt.Sprintf("its data would be %d bytes, and the API server allows %d; move the other data to another Secret", size, maxData), permanent: true}
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
	return "", s.failure(ctx, doing, err, document, old)
}
