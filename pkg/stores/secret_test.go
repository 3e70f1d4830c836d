//go:build linux

package stores

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	kube "k8s.io/client-go/kubernetes"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// apply creates the objects of role.yaml, with a user in place of the ServiceAccount.
func apply(t *testing.T, admin *kube.Clientset, namespace, user string) {
	t.Helper()
	data, err := os.ReadFile("../esper/renew/kubestore/role.yaml")
	must(t, err)
	in := yaml.NewYAMLToJSONDecoder(bytes.NewReader(data))
	var secret corev1.Secret
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	for _, object := range []any{&secret, &role, &binding} {
		must(t, in.Decode(object))
	}
	if len(role.Rules) != 1 || strings.Join(role.Rules[0].Verbs, " ") != "get update" {
		t.Fatalf("the role must have the verbs get and update: %v", role.Rules)
	}
	binding.Subjects = []rbacv1.Subject{{Kind: "User", Name: user, APIGroup: "rbac.authorization.k8s.io"}}
	ctx, options := t.Context(), metav1.CreateOptions{}
	_, err = admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, options)
	must(t, err)
	_, err = admin.CoreV1().Secrets(namespace).Create(ctx, &secret, options)
	must(t, err)
	_, err = admin.RbacV1().Roles(namespace).Create(ctx, &role, options)
	must(t, err)
	_, err = admin.RbacV1().RoleBindings(namespace).Create(ctx, &binding, options)
	must(t, err)
	// The API server takes a moment to notice a new role.
	review := authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "update", Resource: "secrets", Name: secret.Name},
	}}
	eventually(t, func() error {
		answer, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &review, options)
		if err == nil && !answer.Status.Allowed {
			err = fmt.Errorf("%s may not update the Secret: %s", user, answer.Status.Reason)
		}
		return err
	})
}

func secretOf(e *engine, user, namespace, name string) string {
	a := secretAt(e, user, name, "")
	a.table = namespace
	return a.String()
}

// TestRole opens a Source as users that have the rights of role.yaml, and as users that have fewer.
func TestRole(t *testing.T) {
	e := get(t, "Kubernetes")
	// An error that shares eight characters with the key is withheld, and the fake server's own key has "esper-key" in it.
	admin, server := clients(t, e, "admin"), newServer(t, espertest.WithToken("made up for the test of a role"))
	apply(t, admin, "role", "fleet")

	source, err := openSource(t, server, secretOf(e, "fleet", "role", "esper-key"))
	must(t, err)
	must(t, source.Renew(t.Context()))
	wants(t, source, server.Token())
	if n := processes.Posts(server); n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}

	_, err = openSource(t, server, secretOf(e, "fleet", "role", "another"))
	fails(t, "another Secret", err, `the role needs get and, to renew, update on the Secret "another"`)
	_, err = openSource(t, server, secretOf(e, "nobody", "role", "esper-key"))
	fails(t, "a user without rights", err, "the role needs get")
	_, err = openSource(t, server, secretOf(e, "stranger", "role", "esper-key"))
	fails(t, "an unknown user", err, "does not know the account")

	// With a Role without update, a source can read the key but cannot renew it.
	role, err := admin.RbacV1().Roles("role").Get(t.Context(), "esper-key", metav1.GetOptions{})
	must(t, err)
	role.Rules[0].Verbs = []string{"get"}
	_, err = admin.RbacV1().Roles("role").Update(t.Context(), role, metav1.UpdateOptions{})
	must(t, err)
	eventually(t, func() error {
		if err := source.Renew(t.Context()); err == nil || !strings.Contains(err.Error(), "writing the key document") {
			return err
		}
		return nil
	})
	reader, err := openSource(t, server, secretOf(e, "fleet", "role", "esper-key"), renew.ReadOnly())
	must(t, err)
	wants(t, reader, server.Token())

	// Without the Secret, the right to create it is missing.
	must(t, admin.CoreV1().Secrets("role").Delete(t.Context(), "esper-key", metav1.DeleteOptions{}))
	_, err = openSource(t, server, secretOf(e, "fleet", "role", "esper-key"))
	fails(t, "no Secret", err, `create an empty Secret "esper-key", after which the role needs only get and update`)
}

// TestSecret tries a Secret that has other data too, and Secrets that cannot be used.
func TestSecret(t *testing.T) {
	e := get(t, "Kubernetes")
	admin, server := clients(t, e, "admin"), newServer(t)
	secrets, ctx := admin.CoreV1().Secrets("fleet"), t.Context()
	yes := true
	_, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "shared", Labels: map[string]string{"team": "fleet"}, Annotations: map[string]string{"note": "kept"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "1", Controller: &yes}},
		},
		Data: map[string][]byte{"password": []byte("another's")},
		Type: "example.com/own",
	}, metav1.CreateOptions{})
	must(t, err)
	source, err := openSource(t, server, e.at("shared", ""))
	must(t, err)
	// Somebody changes a label between two saves. The same document then has another version.
	secret, err := secrets.Get(ctx, "shared", metav1.GetOptions{})
	must(t, err)
	secret.Labels["team"] = "operations"
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	must(t, err)
	must(t, source.Renew(ctx))
	wants(t, source, server.Token())
	secret, err = secrets.Get(ctx, "shared", metav1.GetOptions{})
	must(t, err)
	if string(secret.Data["password"]) != "another's" || secret.Labels["team"] != "operations" || secret.Annotations["note"] != "kept" ||
		len(secret.OwnerReferences) != 1 || secret.Type != "example.com/own" {
		t.Errorf("a save changed something else in the Secret: %v", secret.ObjectMeta)
	}
	if n := processes.Posts(server); n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}

	_, err = secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "full"}, Data: map[string][]byte{"other": make([]byte, corev1.MaxSecretSize-100)},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = openSource(t, server, e.at("full", ""))
	fails(t, "a full Secret", err, "the API server allows 1048576")

	_, err = openSource(t, server, secretOf(e, "admin", "no-such-namespace", "x"))
	fails(t, "a missing namespace", err, "create the namespace")

	// Somebody deletes the Secret. The next renewal creates it again.
	source, err = openSource(t, server, e.at("deleted", ""))
	must(t, err)
	must(t, secrets.Delete(ctx, "deleted", metav1.DeleteOptions{}))
	must(t, source.Renew(ctx))
	if _, err := secrets.Get(ctx, "deleted", metav1.GetOptions{}); err != nil {
		t.Errorf("the Secret was not created again: %v", err)
	}
	wants(t, source, server.Token())
}

// eventually repeats a check until it succeeds: the API server needs a moment to see a new Role.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	err := try()
	for over := 300; err != nil && over > 0; over-- {
		<-time.After(100 * time.Millisecond)
		err = try()
	}
	must(t, err)
}
