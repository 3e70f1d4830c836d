package kubestore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// failure is an error in one line that quotes no part of the document. It does not wrap the API's error, because an
// admission webhook may have quoted the Secret in that error.
type failure struct {
	text      string
	status    metav1.Status // the status, code and reason of the API's error
	is        []error       // errors of package context, for errors.Is
	permanent bool
}

func (e *failure) Error() string { return e.text }

// Unwrap returns the errors of package context that caused this one.
func (e *failure) Unwrap() []error { return e.is }

// Permanent reports whether the error stays until a person changes something.
func (e *failure) Permanent() bool { return e.permanent }

// Status has the code and the reason, for the functions of k8s.io/apimachinery/pkg/api/errors.
func (e *failure) Status() metav1.Status { return e.status }

// failure turns an error of the API into a failure. doing is the request's verb. documents are those that the request
// sent and replaced: an admission policy may quote both.
func (s *store) failure(ctx context.Context, doing string, err error, documents ...[]byte) *failure {
	f := new(failure)
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) || errors.Is(ctx.Err(), known) {
			f.is = append(f.is, known)
		}
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		was := status.Status()
		f.status = metav1.Status{Status: was.Status, Code: was.Code, Reason: was.Reason}
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	denied := roleDenies.MatchString(text)
	quoted := func(text string) bool {
		return slices.ContainsFunc(documents, func(d []byte) bool { return quotes(text, d) })
	}
	text = word.ReplaceAllStringFunc(text, func(w string) string {
		if quoted(w) {
			return "…" // what is left says who refused
		}
		return w
	})
	if quoted(text) {
		text = fmt.Sprintf("the API server's message is not shown, because it quotes the document (%d %s)", f.status.Code, f.status.Reason)
	} else if most := 500; len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	f.text = doing + ": " + text
	f.permanent = apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err)
	switch {
	case doing == "create" && apierrors.IsNotFound(err):
		f.permanent = true
		f.text += "; create the namespace"
	case denied && doing == "create":
		f.text += fmt.Sprintf("; create an empty Secret %q, after which the role needs only get and update", s.name)
	case denied && doing == "update":
		f.text += fmt.Sprintf("; to renew, the role needs get and update on the Secret %q", s.name)
	case denied:
		f.text += fmt.Sprintf("; the role needs get and, to renew, update on the Secret %q", s.name)
	case apierrors.IsUnauthorized(err):
		f.text += "; the API server does not know the account's token"
	case strings.Contains(text, "rate limiter"): // client-go does not tell which answer made it wait
		f.text += "; the API server asks to wait longer than this call may last (429 Too Many Requests, or 5xx): it has too much to do, or limits this account"
	}
	return f
}

// roleDenies finds the words with which the API server refuses what no Role allows. For any other refusal, by a quota,
// a policy, a webhook or a namespace that is going away, a Role is no help.
var roleDenies = regexp.MustCompile(`cannot (get|update|create) resource "secrets"`)

// word finds what may be a part of a document.
var word = regexp.MustCompile(`[^\s'"]{12,}`)

// quotes reports whether a text quotes a document as it is, or in base64 as a Secret has it. It compares the text in
// blocks of twelve characters, so it finds every quotation that has 23 characters without white space.
func quotes(text string, document []byte) bool {
	const run = 12
	whole := string(document) + " " + base64.StdEncoding.EncodeToString(document)
	for i := 0; len(document) > 0 && i+run <= len(text); i += run {
		if strings.Contains(whole, text[i:i+run]) {
			return true
		}
	}
	return false
}
