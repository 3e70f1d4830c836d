package main

import (
	"errors"
	"io"
	"net/url"
	"strings"

	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/esper-go/esper-go/pkg/esper/renew"
	"github.com/esper-go/esper-go/pkg/esper/renew/kubestore"
)

func secretStore(u *url.URL) (renew.Store, func(), error) {
	own, others, err := options(u, "key", "context")
	name := strings.TrimPrefix(u.Path, "/")
	if err := errors.Join(err, nothingElse(u, others)); err != nil {
		return nil, nil, err
	}
	if u.Host == "" || name == "" || strings.Contains(name, "/") || u.User != nil {
		return nil, nil, usage("the URL of a Secret is kubernetes://namespace/name")
	}
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	where := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(),
		&clientcmd.ConfigOverrides{CurrentContext: own["context"]})
	config, err := where.ClientConfig()
	if err != nil {
		return nil, nil, errors.New("there is no access to a Kubernetes cluster: neither a pod's service account nor a readable KUBECONFIG")
	}
	config.WarningHandler = rest.NoWarnings{}
	clients, err := typed.NewForConfig(config)
	if err != nil {
		return nil, nil, errors.New("the settings for the Kubernetes cluster cannot be used; check the KUBECONFIG")
	}
	var opts []kubestore.Option
	if own["key"] != "" {
		opts = append(opts, kubestore.WithDataKey(own["key"]))
	}
	return kubestore.New(clients.Secrets(u.Host), name, opts...), func() {}, nil
}
