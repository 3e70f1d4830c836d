package kubestore_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/esper-go/esper-go/pkg/esper"
	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
)

// This job shares its key with other pods through a Secret. ESPER_API_KEY is the key to use while the Secret is empty.
func ExampleNew() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := rest.InClusterConfig()
	if err != nil {
		fmt.Println(err)
		return
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	store := kubestore.New(clients.CoreV1().Secrets("fleet"), "esper-key")
	source, err := renew.Open(ctx, "foo", store, renew.WithInitialToken(esper.NewSecret(os.Getenv("ESPER_API_KEY"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close() //nolint:errcheck // it waits for a renewal that has begun
	fmt.Println(source.RenewIfDue(ctx))
}
