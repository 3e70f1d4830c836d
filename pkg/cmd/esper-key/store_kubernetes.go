package main

import (
	"errors"
	"fmt"
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

func secretStore(u *url.URL, query url.Values) (renew.Store, func(), error) {
	key, cluster, name := take(query, "key"), take(query, "context"), strings.TrimPrefix(u.Path, "/")
	if err := nothingElse(u, query); err != nil {
		return nil, nil, err
	}
	if u.Host == "" || name == "" || strings.Contains(name, "/") || u.User != nil {
		return nil, nil, usage("the URL of a Secret is kubernetes://namespace/name")
	}
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	files := strings.Join(rules.Precedence, ", ")
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cluster}).ClientConfig()
	switch { // the errors may quote the files, in which there are tokens
	case err != nil && cluster != "":
		return nil, nil, fmt.Errorf("there is no access to a Kubernetes cluster: the context %s of the store's URL cannot be used, or is not in %s", cluster, files)
	case err != nil:
		return nil, nil, fmt.Errorf("there is no access to a Kubernetes cluster: neither a pod's service account nor a cluster that can be used in %s", files)
	}
	config.WarningHandler = rest.NoWarnings{}
	clients, err := typed.NewForConfig(config)
	if err != nil {
		return nil, nil, errors.New("the settings for the Kubernetes cluster cannot be used; check the KUBECONFIG")
	}
	var opts []kubestore.Option
	if key != "" {
		opts = append(opts, kubestore.WithDataKey(key))
	}
	return kubestore.New(clients.Secrets(u.Host), name, opts...), func() {}, nil
}
