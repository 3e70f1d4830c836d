//go:build linux

package stores

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// apply creates the objects of a file with manifests in a namespace, each as change makes it.
func apply(t *testing.T, e *engine, namespace, file string, change func(o *unstructured.Unstructured)) {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	config, err := configAs(e.dsn("admin", e.listens))
	must(t, err)
	admin, err := dynamic.NewForConfig(config)
	must(t, err)
	for in := yaml.NewYAMLToJSONDecoder(bytes.NewReader(data)); ; {
		var o unstructured.Unstructured
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		change(&o)
		kind, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		_, err = admin.Resource(kind).Namespace(namespace).Create(t.Context(), &o, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		must(t, err)
	}
}

// mayUpdate waits until the API server has noticed the role with which a user may update a Secret.
func mayUpdate(t *testing.T, e *engine, user, namespace, name string) {
	t.Helper()
	secrets, ctx := clients(t, e, user).CoreV1().Secrets(namespace), t.Context()
	eventually(t, func() error {
		secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		}
		return err
	})
}

// TestSecret renews a key in a Secret that has other data too, and in one that somebody deletes.
func TestSecret(t *testing.T) {
	e, server := get(t, "Kubernetes"), newServer(t)
	secrets, ctx, yes := clients(t, e, "admin").CoreV1().Secrets("fleet"), t.Context(), true
	_, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: "shared", Labels: map[string]string{"team": "fleet"}, Annotations: map[string]string{"note": "kept"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "1", Controller: &yes}},
		},
		Data: map[string][]byte{"password": []byte("another's")},
		Type: "example.com/own",
	}, metav1.CreateOptions{})
	must(t, err)
	source, err := openSource(t, server, e.at("shared"))
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
	must(t, secrets.Delete(ctx, "shared", metav1.DeleteOptions{}))
	must(t, source.Renew(ctx)) // which makes it again
	wants(t, source, server.Token())
	_, err = secrets.Get(ctx, "shared", metav1.GetOptions{})
	must(t, err)
	if n := processes.Posts(server); n != 2 {
		t.Errorf("%d renewals, want 2", n)
	}
}

// TestRefusals has the API server refuse what esper-key asks for. The error has the API server's reason, and names a
// Role only if a Role would help. The error comes within 15 seconds, and quotes no key.
func TestRefusals(t *testing.T) {
	e := get(t, "Kubernetes")
	admin, yes, create := clients(t, e, "admin"), true, metav1.CreateOptions{}
	change := func(t *testing.T, name string, how func(*corev1.Secret)) {
		secret, err := admin.CoreV1().Secrets("fleet").Get(t.Context(), name, metav1.GetOptions{})
		must(t, err)
		how(secret)
		_, err = admin.CoreV1().Secrets("fleet").Update(t.Context(), secret, metav1.UpdateOptions{})
		must(t, err)
	}
	// may gives the user reader a right to a Secret.
	may := func(t *testing.T, name string, verbs ...string) {
		_, err := admin.RbacV1().Roles("fleet").Create(t.Context(), &rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: verbs}},
		}, create)
		must(t, err)
		_, err = admin.RbacV1().RoleBindings("fleet").Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "User", Name: "reader", APIGroup: rbacv1.GroupName}},
		}, create)
		must(t, err)
		eventually(t, func() error {
			_, err := clients(t, e, "reader").CoreV1().Secrets("fleet").Get(t.Context(), name, metav1.GetOptions{})
			if apierrors.IsForbidden(err) {
				return err
			}
			return nil
		})
	}
	for situation, row := range map[string]struct {
		namespace, user string
		adopts          bool                                       // before the situation
		begin           func(t *testing.T, namespace, name string) // brings it about
		args            string
		want            string
	}{
		"a Secret with a finalizer is being deleted": {"fleet", "admin", true, func(t *testing.T, _, name string) {
			change(t, name, func(s *corev1.Secret) { s.Finalizers = []string{"example.com/hold"} })
			must(t, admin.CoreV1().Secrets("fleet").Delete(t.Context(), name, metav1.DeleteOptions{}))
		}, "renew --now", "it is being deleted, and a key in it would vanish with it; wait until its finalizers (example.com/hold) have let it go"},
		"an immutable Secret": {"fleet", "admin", true, func(t *testing.T, _, name string) {
			change(t, name, func(s *corev1.Secret) { s.Immutable = &yes })
		}, "renew --now", "it is immutable; delete it, and create an empty one"},
		"a Secret with other data that fills it": {"fleet", "admin", false, func(t *testing.T, _, name string) {
			_, err := admin.CoreV1().Secrets("fleet").Create(t.Context(), &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"other": make([]byte, corev1.MaxSecretSize-100)},
			}, create)
			must(t, err)
		}, "adopt", "the API server allows 1048576"},
		"there is no such namespace": {"missing", "admin", false, nil, "adopt", "create the namespace"},
		"the namespace is terminating": {"leaving", "admin", false, func(t *testing.T, namespace, _ string) {
			must(t, admin.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}))
		}, "adopt", "unable to create new content in namespace leaving because it is being terminated"},
		"a quota is used up": {"limited", "admin", false, func(t *testing.T, namespace, _ string) {
			none := corev1.ResourceList{"count/secrets": resource.MustParse("0")}
			q, err := admin.CoreV1().ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Name: "no-secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: none},
			}, create)
			must(t, err)
			q.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
			_, err = admin.CoreV1().ResourceQuotas(namespace).UpdateStatus(t.Context(), q, metav1.UpdateOptions{})
			must(t, err)
		}, "adopt", "exceeded quota: no-secrets"},
		"an admission policy quotes the key, and the one before": {"guarded", "admin", true, func(t *testing.T, namespace, _ string) {
			forbid(t, e, namespace)
		}, "renew --now", "ValidatingAdmissionPolicy 'guarded' with binding 'guarded' denied request: was … is …"},
		"no right":           {"fleet", "nobody", false, nil, "token --read-only", `cannot get resource "secrets" in API group "" in the namespace "fleet"; the role needs get`},
		"an unknown account": {"fleet", "stranger", false, nil, "token", "the API server does not know the account's token"},
		"a role without update": {"fleet", "reader", true, func(t *testing.T, _, name string) {
			may(t, name, "get")
		}, "renew --now", `cannot update resource "secrets" in API group "" in the namespace "fleet"; to renew, the role needs get and update`},
		"no Secret, and a role that may make none": {"fleet", "reader", false, func(t *testing.T, _, name string) {
			may(t, name, "get", "update")
		}, "adopt", "after which the role needs only get and update"},
	} {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			server, name := newServer(t), newName()
			if row.namespace != "fleet" && row.namespace != "missing" {
				namespace(t, e, row.namespace)
			}
			run := func(user, args string) (printed string, code int) {
				t.Helper()
				env := []string{"KUBECONFIG=" + kubeconfig(t, e, row.namespace, user)}
				return esperKey(t, server, "kubernetes://"+row.namespace+"/"+name, env, strings.Fields(args)...)
			}
			if row.adopts {
				if printed, code := run("admin", "adopt"); code != 0 {
					t.Fatal(printed)
				}
			}
			if row.begin != nil {
				row.begin(t, row.namespace, name)
			}
			began := time.Now()
			printed, code := run(row.user, row.args)
			printed = printed[strings.LastIndex(printed, "\n")+1:] // after a warning
			if code != 1 || !strings.Contains(printed, row.want) || time.Since(began) > patience {
				t.Errorf("%d after %v, %s\nwant %s", code, time.Since(began), printed, row.want)
			}
			if strings.Contains(printed, "role") != strings.Contains(row.want, "role") || !strings.Contains(printed, name) {
				t.Errorf("only who lacks a right needs a Role, and each error names the Secret: %s", printed)
			}
			if processes.Posts(server) > 0 {
				t.Error("a renewal was sent, although its key cannot be saved")
			}
			outcome(e, situation, printed)
			if !row.adopts {
				return
			}
			printed, code = run(row.user, "token --read-only")
			unfit := strings.HasPrefix(row.want, "it is ")
			if code != 0 || !slices.Contains(strings.Split(printed, "\n"), server.Token()) || strings.Contains(printed, "warning: ") != unfit || strings.Contains(printed, row.want) != unfit {
				t.Errorf("a reader does not get the key, with a warning if it is in a Secret that can keep no other: %d, %s", code, printed)
			}
		})
	}
}

// forbid has every change of a Secret in a namespace refused, with a message that quotes it, as it was and as it would
// be.
func forbid(t *testing.T, e *engine, namespace string) {
	t.Helper()
	admin, ctx, fail, create := clients(t, e, "admin"), t.Context(), admission.Fail, metav1.CreateOptions{}
	_, err := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, &admission.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: admission.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admission.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}},
				ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: admission.RuleWithOperations{
					Operations: []admission.OperationType{admission.Update},
					Rule:       admission.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admission.Validation{{Expression: "false", MessageExpression: `"was " + string(oldObject.data["key.json"]) + ", is " + string(object.data["key.json"])`}},
		},
	}, create)
	must(t, err)
	_, err = admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, &admission.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec:       admission.ValidatingAdmissionPolicyBindingSpec{PolicyName: namespace, ValidationActions: []admission.ValidationAction{admission.Deny}},
	}, create)
	must(t, err)
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Data: map[string][]byte{"key.json": []byte("x")}}
	_, err = admin.CoreV1().Secrets(namespace).Create(ctx, probe, create)
	must(t, err)
	eventually(t, func() error {
		if _, err := admin.CoreV1().Secrets(namespace).Update(ctx, probe, metav1.UpdateOptions{}); err == nil {
			return fmt.Errorf("the API server does not notice the new policy")
		}
		return nil
	})
}
