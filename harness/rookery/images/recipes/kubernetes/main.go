// Command k8s is every Kubernetes program of a node in one, chosen by the name it is run as.
//
// One program is compiled and stored once where eight would be; each part is started by its own constructor, so that
// it behaves as the separate program does.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	"k8s.io/kubernetes/cmd/kubeadm/app"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              kubeproxy.NewProxyCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	switch program, known := programs[name]; {
	case name == "kubeadm":
		if err := app.Run(); err != nil {
			os.Exit(1)
		}
	case name == "kubelet":
		os.Exit(cli.Run(newKubeletCommand()))
	case known:
		os.Exit(cli.Run(program()))
	default:
		fmt.Fprintf(os.Stderr, "%s: not a Kubernetes program\n", name)
		os.Exit(2)
	}
}
