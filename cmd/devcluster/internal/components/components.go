// Package components holds the programs that make up a cluster: each function
// takes over the process, reads its flags from os.Args and returns an exit code.
package components

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwokcmd "sigs.k8s.io/kwok/pkg/kwok/cmd"
	kwoklog "sigs.k8s.io/kwok/pkg/log"
	kwoksignals "sigs.k8s.io/kwok/pkg/utils/signals"
)

// ByName returns the component's main function.
func ByName(name string) (main func() int, ok bool) {
	switch name {
	case "etcd":
		return etcd, true
	case "kube-apiserver":
		return command(func() *cobra.Command { return apiserver.NewAPIServerCommand() }), true
	case "kube-controller-manager":
		return command(func() *cobra.Command { return controllermanager.NewControllerManagerCommand() }), true
	case "kube-scheduler":
		return command(func() *cobra.Command {
			return scheduler.NewSchedulerCommand(scheduler.WithPlugin(unschedulableName, newUnschedulable))
		}), true
	case "kwok":
		return kwok, true
	}
	return nil, false
}

func command(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

// kwok does what the main function of sigs.k8s.io/kwok/cmd/kwok does.
func kwok() int {
	// The Kubernetes packages in this binary register flags in pflag.CommandLine,
	// among them a --version that is not a bool. cobra merges these into every
	// root command, and KWOK's own --version then fails: it gets an empty set.
	pflag.CommandLine = pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	flags := pflag.NewFlagSet("global", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.Usage = func() {}

	ctx := kwoksignals.SetupSignalContext()
	ctx, _ = kwoklog.InitFlags(ctx, flags)
	ctx, err := kwokconfig.InitFlags(ctx, flags)
	if err != nil {
		return fail("kwok", err)
	}
	cmd := kwokcmd.NewCommand(ctx)
	cmd.PersistentFlags().AddFlagSet(flags)
	if err := cmd.ExecuteContext(ctx); err != nil {
		return fail("kwok", err)
	}
	return 0
}

func fail(name string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}
