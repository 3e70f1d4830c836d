//go:build linux

package stores

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "k8s.io/client-go/kubernetes"

	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestRefusals has the API server refuse what esper-key asks for. The error has the API server's reason, and names a Role
// only if a Role would help. The error comes within 15 seconds, and quotes no key.
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
	for situation, row := range map[string]struct {
		namespace, user string
		adopts          bool                                                            // before the situation
		begin           func(t *testing.T, ctx context.Context, namespace, name string) // brings it about
		args            string
		want            string
	}{
		"a Secret with a finalizer is being deleted": {"fleet", "admin", true, func(t *testing.T, ctx context.Context, _, name string) {
			change(t, name, func(s *corev1.Secret) { s.Finalizers = []string{"example.com/hold"} })
			must(t, admin.CoreV1().Secrets("fleet").Delete(ctx, name, metav1.DeleteOptions{}))
		}, "renew --now", "it is being deleted, and a key in it would vanish with it; wait until its finalizers (example.com/hold) have let it go"},
		"an immutable Secret": {"fleet", "admin", true, func(t *testing.T, _ context.Context, _, name string) {
			change(t, name, func(s *corev1.Secret) { s.Immutable = &yes })
		}, "renew --now", "it is immutable; delete it, and create an empty one"},
		"the namespace is terminating": {"leaving", "admin", false, func(t *testing.T, ctx context.Context, namespace, _ string) {
			must(t, admin.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}))
		}, "adopt", "unable to create new content in namespace leaving because it is being terminated"},
		"a quota is used up": {"limited", "admin", false, func(t *testing.T, ctx context.Context, namespace, _ string) {
			none := corev1.ResourceList{"count/secrets": resource.MustParse("0")}
			q, err := admin.CoreV1().ResourceQuotas(namespace).Create(ctx, &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Name: "no-secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: none},
			}, create)
			must(t, err)
			q.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
			_, err = admin.CoreV1().ResourceQuotas(namespace).UpdateStatus(ctx, q, metav1.UpdateOptions{})
			must(t, err)
		}, "adopt", "exceeded quota: no-secrets"},
		"an admission policy quotes the key, and the one before": {"guarded", "admin", true, func(t *testing.T, _ context.Context, namespace, _ string) {
			forbid(t, admin, namespace)
		}, "renew --now", "ValidatingAdmissionPolicy 'guarded' with binding 'guarded' denied request: was … is …"},
		"no right": {"fleet", "nobody", false, func(*testing.T, context.Context, string, string) {}, "token --read-only", `cannot get resource "secrets" in API group "" in the namespace "fleet"; the role needs get`},
	} {
		t.Run(situation, func(t *testing.T) {
			t.Parallel()
			server, name, ctx := newServer(t), newName(), t.Context()
			if row.namespace != "fleet" {
				_, err := admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: row.namespace}}, create)
				must(t, err)
			}
			store := "kubernetes://" + row.namespace + "/" + name
			env := func(user string) []string {
				return []string{"KUBECONFIG=" + kubeconfig(t, e, row.namespace, user)}
			}
			if row.adopts {
				if printed, code := esperKey(t, server, store, env("admin"), "adopt"); code != 0 {
					t.Fatal(printed)
				}
			}
			row.begin(t, ctx, row.namespace, name)
			began := time.Now()
			printed, code := esperKey(t, server, store, env(row.user), strings.Fields(row.args)...)
			printed = printed[strings.LastIndex(printed, "\n")+1:] // after a warning
			if code != 1 || !strings.Contains(printed, row.want) || time.Since(began) > 20*time.Second {
				t.Errorf("%d after %v, %s\nwant %s", code, time.Since(began), printed, row.want)
			}
			if strings.Contains(printed, "role") != (situation == "no right") || !strings.Contains(printed, name) {
				t.Errorf("only who lacks a right needs a Role, and each error names the Secret: %s", printed)
			}
			if processes.Posts(server) > 0 {
				t.Error("a renewal was sent, although its key cannot be saved")
			}
			outcome(e, situation, printed)
			if !row.adopts {
				return
			}
			printed, code = esperKey(t, server, store, env("admin"), "token", "--read-only")
			unfit := row.namespace == "fleet"
			if code != 0 || !slices.Contains(strings.Split(printed, "\n"), server.Token()) || strings.Contains(printed, "warning: ") != unfit || strings.Contains(printed, row.want) != unfit {
				t.Errorf("a reader does not get the key, with a warning if it is in a Secret that can keep no other: %d, %s", code, printed)
			}
		})
	}
}

// forbid has every change of a Secret in a namespace refused, with a message that quotes it, as it was and as it would be.
func forbid(t *testing.T, admin *kube.Clientset, namespace string) {
	t.Helper()
	ctx := t.Context()
	fail, create := admission.Fail, metav1.CreateOptions{}
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
	takesEffect(t, func() bool {
		_, err := admin.CoreV1().Secrets(namespace).Update(ctx, probe, metav1.UpdateOptions{})
		return err != nil
	})
}

func takesEffect(t *testing.T, ask func() bool) {
	t.Helper()
	for over := time.Now().Add(time.Minute); !ask(); <-time.After(100 * time.Millisecond) {
		if time.Now().After(over) {
			t.Fatal("the API server does not notice the new object")
		}
	}
}
