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
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	files := strings.Join(rules.Precedence, ", ")
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: own["context"]}).ClientConfig()
	switch { // the errors may quote the files, in which there are tokens
	case err != nil && own["context"] != "":
		return nil, nil, fmt.Errorf("there is no access to a Kubernetes cluster: the context %s of the store's URL cannot be used, or is not in %s", own["context"], files)
	case err != nil:
		return nil, nil, fmt.Errorf("there is no access to a Kubernetes cluster: neither a pod's service account nor a cluster that can be used in %s", files)
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
