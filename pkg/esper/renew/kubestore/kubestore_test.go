package kubestore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// The tests in pkg/stores use a real API server. The tests here use a fake one, for answers that a real one rarely
// gives.

// stored is the document in the Secret of the fake API server.
const stored = "stored, with a SecretSecretSecretSecret"

// on returns a store on a fake API server. The server's answer to a request is what the function answer returns. If
// that is nil, the server answers with a Secret that holds a document.
func on(t *testing.T, answer func(r *http.Request) *metav1.Status, opts ...Option) renew.Store {
	t.Helper()
	return serve(t, func(r *http.Request) (int, any) {
		if s := answer(r); s != nil {
			s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
			return int(s.Code), s
		}
		return http.StatusOK, secret(stored, false)
	}, opts...)
}

func secret(document string, immutable bool) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "esper-key", ResourceVersion: "7"},
		Data:       map[string][]byte{"key.json": []byte(document)},
		Immutable:  &immutable,
	}
}

func serve(t *testing.T, answer func(r *http.Request) (status int, body any), opts ...Option) renew.Store {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := answer(r)
		w.Header().Set("Content-Type", "application/json")
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}))
	t.Cleanup(server.Close)
	clients, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return New(clients.CoreV1().Secrets("fleet"), "esper-key", opts...)
}

func status(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message}
}

// TestAnswers has the API server refuse reads and writes.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer    *metav1.Status
		writes    string // part of the error that Save must return; "conflict" for ErrConflict
		reads     string // part of the error that Load must return; "" for none
		permanent bool
	}{
		"conflict":          {status(409, metav1.StatusReasonConflict, "modified"), "conflict", "modified", false},
		"deleted meanwhile": {status(404, metav1.StatusReasonNotFound, "not found"), "conflict", "", false},
		"no right":          {status(403, metav1.StatusReasonForbidden, `secrets "x" is forbidden: User "u" cannot update resource "secrets"`), "to renew, the role needs get and update", "the role needs get and, to renew, update", true},
		"a policy's reason": {status(403, metav1.StatusReasonForbidden, "exceeded quota"), "update: exceeded quota", "get: exceeded quota", true},
		"no such user":      {status(401, metav1.StatusReasonUnauthorized, "Unauthorized"), "does not know the account's token", "does not know the account's token", false},
		"gone":              {status(410, metav1.StatusReasonExpired, "too old"), "update: too old", "get: too old", false},
		"invalid":           {status(422, metav1.StatusReasonInvalid, "Secret is invalid"), "update: Secret is invalid", "get: Secret is invalid", true},
		"too large":         {status(413, metav1.StatusReasonRequestEntityTooLarge, "limit is 3145728"), "update: limit is", "get: limit is", true},
		"unavailable":       {status(503, metav1.StatusReasonServiceUnavailable, "etcd has no leader"), "update: etcd has no leader", "get: etcd has no leader", false},
	} {
		writing := on(t, func(r *http.Request) *metav1.Status {
			if r.Method == http.MethodGet {
				return nil
			}
			return test.answer
		})
		_, err := writing.Save(t.Context(), []byte("next"), "7")
		if strings.Contains(fmt.Sprint(err), "role") != (name == "no right") {
			t.Errorf("%s: only who lacks a right needs another role: %v", name, err)
		}
		if conflict := errors.Is(err, renew.ErrConflict); conflict != (test.writes == "conflict") || !conflict && !strings.Contains(err.Error(), test.writes) {
			t.Errorf("%s: Save: %v, want %q", name, err, test.writes)
		}
		reading := on(t, func(*http.Request) *metav1.Status { return test.answer })
		_, _, err = reading.Load(t.Context())
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
		if apierrors.ReasonForError(err) != test.answer.Reason {
			t.Errorf("%s: the reason is %q", name, apierrors.ReasonForError(err))
		}
	}
}

// TestTooManyRequests answers 429: client-go waits as long as Retry-After says, unless the context ends first.
func TestTooManyRequests(t *testing.T) {
	var n atomic.Int32
	s := on(t, func(*http.Request) *metav1.Status {
		if n.Add(1) <= 1 {
			return status(429, metav1.StatusReasonTooManyRequests, "busy")
		}
		return nil
	})
	if document, version, err := s.Load(t.Context()); err != nil || string(document) != stored || version != "7" {
		t.Errorf("Load returned %q, %q, %v", document, version, err)
	}
	n.Store(-1000)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := s.Load(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "429 Too Many Requests") {
		t.Errorf("Load with a context that ends before Retry-After: %v", err)
	}
}

// TestNoSecrets has an admission webhook quote the Secret in its refusal. The store's error must not hold the key.
func TestNoSecrets(t *testing.T) {
	const canary = "MadeUpKeyMadeUpKeyMadeUpKeyM01"
	document := []byte(`{"key": "` + canary + `"}`)
	for name, form := range map[string]string{
		"raw": string(document), "what was there": base64.StdEncoding.EncodeToString([]byte(stored)), "base64": base64.StdEncoding.EncodeToString(document), "quoted": fmt.Sprintf("%q", document), "a part": canary[:25],
	} {
		sent := ""
		s := on(t, func(r *http.Request) *metav1.Status {
			if r.Method == http.MethodGet {
				return nil
			}
			body, _ := io.ReadAll(r.Body)
			sent = string(body)
			return status(403, metav1.StatusReasonForbidden, "admission webhook denied the request: "+form)
		})
		_, err := s.Save(t.Context(), document, "7")
		if err == nil || !strings.Contains(err.Error(), "admission webhook denied") && !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(sent, base64.StdEncoding.EncodeToString(document)) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, printed := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			for _, secret := range []string{canary[:20], base64.StdEncoding.EncodeToString(document)[:20], base64.StdEncoding.EncodeToString([]byte(canary))[:20], base64.StdEncoding.EncodeToString([]byte(stored))[:20]} {
				if strings.Contains(printed, secret) {
					t.Errorf("%s: the error holds the key: %s", name, printed)
				}
			}
		}
		var own *apierrors.StatusError
		if errors.As(err, &own) {
			t.Errorf("%s: errors.As finds the API's error, whose message quotes the Secret", name)
		}
	}
}

// TestWarnings reads a Secret that becomes unfit for a new key. Each reason is told once.
func TestWarnings(t *testing.T) {
	immutable := false
	s := serve(t, func(*http.Request) (int, any) { return http.StatusOK, secret(stored, immutable) })
	for _, want := range []string{"", `the Secret "esper-key" can keep no new key: it is immutable`, ""} {
		if _, _, err := s.Load(t.Context()); err != nil {
			t.Error(err)
		}
		got := strings.Join(s.(interface{ Warnings() []string }).Warnings(), "; ")
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("warned of %q, want %q", got, want)
		}
		immutable = true
	}
}

// TestArguments checks that a store with bad arguments returns errors and sends no request.
func TestArguments(t *testing.T) {
	secrets := func(name string, opts ...Option) renew.Store {
		s := on(t, func(*http.Request) *metav1.Status {
			t.Error("a request was sent")
			return nil
		}, opts...)
		if inside, ok := s.(*store); ok && name != "" {
			inside.name = name
		}
		return s
	}
	for name, s := range map[string]renew.Store{
		"no client":    New(nil, "esper-key"),
		"a bad name":   secrets("Esper_Key"),
		"a bad key":    secrets("", WithDataKey("key/json")),
		"no key":       secrets("", WithDataKey("")),
		"a path a key": secrets("", WithDataKey("..")),
	} {
		_, _, loadErr := s.Load(t.Context())
		_, saveErr := s.Save(t.Context(), []byte("x"), "")
		_, openErr := renew.Open(t.Context(), "foo", s)
		if loadErr == nil || saveErr == nil || !errors.Is(openErr, esper.ErrInvalidArgument) {
			t.Errorf("%s: %v, %v, %v", name, loadErr, saveErr, openErr)
		}
	}
	if _, err := on(t, func(*http.Request) *metav1.Status { return nil }, nil).Save(t.Context(), nil, "7"); err == nil {
		t.Error("Save accepted an empty document")
	}
}
