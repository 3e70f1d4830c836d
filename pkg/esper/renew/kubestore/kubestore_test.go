package kubestore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// fakeAPI has one Secret, and gives answers that a real API server rarely gives. The tests in pkg/stores use a real one.
type fakeAPI struct {
	typed.SecretInterface
	secret      corev1.Secret
	read, write error
}

func (f *fakeAPI) Get(context.Context, string, metav1.GetOptions) (*corev1.Secret, error) {
	return f.secret.DeepCopy(), f.read
}

func (f *fakeAPI) Update(_ context.Context, s *corev1.Secret, _ metav1.UpdateOptions) (*corev1.Secret, error) {
	f.secret = *s
	return s, f.write
}

// stored is the document in that Secret.
const stored = "stored, with a SecretSecretSecretSecret"

// on returns a store on an API server that answers reads and writes with these errors.
func on(read, write error) (renew.Store, *fakeAPI) {
	f := &fakeAPI{read: read, write: write, secret: corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7"},
		Data:       map[string][]byte{"key.json": []byte(stored)},
	}}
	return New(f, "esper-key", nil), f
}

// TestAnswers has the API server refuse reads and writes.
func TestAnswers(t *testing.T) {
	secrets := corev1.Resource("secrets")
	forbidden := func(why string) error { return apierrors.NewForbidden(secrets, "esper-key", errors.New(why)) }
	for name, test := range map[string]struct {
		answer    error
		writes    string // part of the error that Save must return; "conflict" for ErrConflict
		reads     string // part of the error that Load must return; "" for none
		permanent bool
	}{
		"conflict":          {apierrors.NewConflict(secrets, "esper-key", errors.New("modified")), "conflict", "modified", false},
		"deleted meanwhile": {apierrors.NewNotFound(secrets, "esper-key"), "conflict", "", false},
		"no right":          {forbidden(`User "u" cannot update resource "secrets"`), "to renew, the role needs get and update", "the role needs get and, to renew, update", true},
		"a policy's reason": {forbidden("exceeded quota"), "forbidden: exceeded quota", "forbidden: exceeded quota", true},
		"no such user":      {apierrors.NewUnauthorized("Unauthorized"), "does not know the account's token", "does not know the account's token", false},
		"gone":              {apierrors.NewResourceExpired("too old"), "update: too old", "get: too old", false},
		"invalid":           {apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "x", nil), "update: Secret \"x\" is invalid", "get: Secret", true},
		"too large":         {apierrors.NewRequestEntityTooLargeError("limit is 3145728"), "update: Request entity too large", "get: Request", true},
		"unavailable":       {apierrors.NewServiceUnavailable("etcd has no leader"), "update: etcd has no leader", "get: etcd has no leader", false},
		"asked to wait":     {fmt.Errorf("client rate limiter Wait returned an error: %w", context.DeadlineExceeded), "429 Too Many Requests", "429 Too Many Requests", false},
	} {
		s, _ := on(nil, test.answer)
		_, err := s.Save(t.Context(), []byte("next"), "7")
		if strings.Contains(fmt.Sprint(err), "role") != (name == "no right") {
			t.Errorf("%s: only who lacks a right needs another role: %v", name, err)
		}
		if conflict := errors.Is(err, renew.ErrConflict); conflict != (test.writes == "conflict") || !conflict && !strings.Contains(err.Error(), test.writes) {
			t.Errorf("%s: Save: %v, want %q", name, err, test.writes)
		}
		s, _ = on(test.answer, nil)
		_, _, err = s.Load(t.Context())
		if test.reads == "" {
			if err != nil {
				t.Errorf("%s: Load: %v, want no error", name, err)
			}
			continue
		}
		var p interface{ Permanent() bool }
		if err == nil || !strings.Contains(err.Error(), test.reads) || !errors.As(err, &p) || p.Permanent() != test.permanent {
			t.Errorf("%s: Load: %v, want %q, permanent %v", name, err, test.reads, test.permanent)
		}
		if apierrors.ReasonForError(err) != apierrors.ReasonForError(test.answer) || errors.Is(err, context.DeadlineExceeded) != (name == "asked to wait") {
			t.Errorf("%s: the reason is %q: %v", name, apierrors.ReasonForError(err), err)
		}
	}
}

// TestNoSecrets has an admission webhook quote the Secret in its refusal. The store's error must not hold the key.
func TestNoSecrets(t *testing.T) {
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	document := []byte(`{"key": "` + canary + `"}`)
	encode := base64.StdEncoding.EncodeToString
	for name, form := range map[string]string{
		"raw": string(document), "what was there": encode([]byte(stored)), "base64": encode(document), "quoted": fmt.Sprintf("%q", document), "a part": canary[:25],
	} {
		s, _ := on(nil, apierrors.NewForbidden(corev1.Resource("secrets"), "", errors.New("admission webhook denied the request: "+form)))
		_, err := s.Save(t.Context(), document, "7")
		if err == nil || !strings.Contains(err.Error(), "admission webhook denied") {
			t.Fatalf("%s: %v", name, err)
		}
		printed := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, secret := range []string{canary, encode(document), encode([]byte(canary)), encode([]byte(stored))} {
			if strings.Contains(printed, secret[:20]) {
				t.Errorf("%s: the error holds the key: %s", name, printed)
			}
		}
		var own *apierrors.StatusError
		if errors.As(err, &own) {
			t.Errorf("%s: errors.As finds the API's error, whose message quotes the Secret", name)
		}
	}
}

// TestRest saves to a Secret that has more than the document. Nothing else in it changes.
func TestRest(t *testing.T) {
	s, api := on(nil, nil)
	api.secret.Type, api.secret.Data["password"] = "example.com/own", []byte("another's")
	api.secret.Labels, api.secret.OwnerReferences = map[string]string{"team": "fleet"}, []metav1.OwnerReference{{Name: "owner"}}
	want := api.secret.DeepCopy()
	want.Data["key.json"] = []byte("next")
	if _, err := s.Save(t.Context(), []byte("next"), "7"); err != nil || !reflect.DeepEqual(&api.secret, want) {
		t.Errorf("Save made of the Secret %v, %v, want %v", api.secret, err, want)
	}
}

// TestWarnings reads a Secret that becomes unfit for a new key. Each reason is told once.
func TestWarnings(t *testing.T) {
	s, api := on(nil, nil)
	for _, want := range []string{"", `the Secret "esper-key" can keep no new key: it is immutable`, ""} {
		if _, _, err := s.Load(t.Context()); err != nil {
			t.Error(err)
		}
		got := strings.Join(s.(interface{ Warnings() []string }).Warnings(), "; ")
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("warned of %q, want %q", got, want)
		}
		api.secret.Immutable = new(true)
	}
}

// TestArguments checks that a store with bad arguments returns errors and sends no request, which would panic here.
func TestArguments(t *testing.T) {
	var api struct{ typed.SecretInterface }
	for name, s := range map[string]renew.Store{
		"no client":    New(nil, "esper-key"),
		"a bad name":   New(api, "Esper_Key"),
		"a bad key":    New(api, "esper-key", WithDataKey("key/json")),
		"no key":       New(api, "esper-key", WithDataKey("")),
		"a path a key": New(api, "esper-key", WithDataKey("..")),
	} {
		_, _, loadErr := s.Load(t.Context())
		_, saveErr := s.Save(t.Context(), []byte("x"), "")
		_, openErr := renew.Open(t.Context(), "foo", s)
		if loadErr == nil || saveErr == nil || !errors.Is(openErr, esper.ErrInvalidArgument) {
			t.Errorf("%s: %v, %v, %v", name, loadErr, saveErr, openErr)
		}
	}
	if _, err := New(api, "esper-key").Save(t.Context(), nil, "7"); err == nil {
		t.Error("Save accepted an empty document")
	}
}
