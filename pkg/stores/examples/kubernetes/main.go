// Kubernetes makes one call, with a key that pods share through a Secret. If the key is due for renewal, the call
// renews it first.
//
// ESPER_ENVIRONMENT names the tenant and ESPER_KEY_SECRET the Secret. ESPER_API_KEY is the key to use while the Secret
// is empty. The cluster and the namespace are those of the pod, or of KUBECONFIG.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	where := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	namespace, _, err := where.Namespace()
	if err != nil {
		return err
	}
	config, err := where.ClientConfig()
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	store := kubestore.New(clients.CoreV1().Secrets(namespace), os.Getenv("ESPER_KEY_SECRET"))
	source, err := renew.Open(ctx, os.Getenv("ESPER_ENVIRONMENT"), store,
		renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY")))) // used while the Secret is empty
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	info, err := source.Client().TokenInfo(ctx)
	if err != nil {
		return err
	}
	fmt.Println("key", info.ID, "of", info.User)
	return nil
}
