// Package cluster starts the components of a cluster in order, waits until it
// can be used, watches over them, and stops them.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-dev/berth/cmd/devcluster/internal/node"
	"github.com/berth-dev/berth/cmd/devcluster/internal/pki"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// DefaultNodes is how many nodes a cluster has unless told otherwise: two, so
// that what spreads over nodes does.
const DefaultNodes = 2

// MaxNodes is a guard against a typing error; KWOK itself can do thousands.
const MaxNodes = 100

// startTimeout is how long a cluster may take until it is ready. It needs 3–5 s
// on two idle cores.
const startTimeout = 2 * time.Minute

// Options say what cluster to run.
type Options struct {
	DataDir        string    // empty: a temporary directory, removed at the end
	Nodes          int       // from 1 to MaxNodes
	IngressAddress net.IP    // of every Ingress and LoadBalancer; nil: none
	Out            io.Writer // gets the line with the kubeconfig's path
	Progress       io.Writer // gets a line per step
}

// cluster is one run of Up.
type cluster struct {
	opts    Options
	dir     layout
	ports   ports
	sup     *supervisor
	client  kubernetes.Interface
	started time.Time
}

// Up runs a cluster until ctx is done, then stops all of it and returns nil. It
// returns ctx's error if ctx was done before the cluster was ready, an
// *InUseError if another instance has the data directory, and an error that
// names the component and shows its last log lines if one died.
func Up(ctx context.Context, opts Options) (err error) {
	c := &cluster{opts: opts, started: time.Now()}
	temporary := opts.DataDir == ""
	if temporary {
		if opts.DataDir, err = os.MkdirTemp("", "devcluster-"); err != nil {
			return err
		}
		defer os.RemoveAll(opts.DataDir)
	}
	root, err := filepath.Abs(opts.DataDir)
	if err != nil {
		return err
	}
	c.dir = layout(root)
	if err := c.dir.create(); err != nil {
		return err
	}
	lock, err := acquire(ctx, c.dir.lock())
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := os.Remove(c.dir.ready()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}

	if c.sup, err = newSupervisor(c.dir, lock); err != nil {
		return err
	}
	defer func() {
		c.step("stopping")
		c.sup.stop()
		os.Remove(c.dir.ready())
		c.step("stopped")
	}()

	server, err := c.start(ctx, temporary)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := c.announce(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.sup.died:
		return err
	}
}

// start brings everything up and returns once the cluster can be used.
func (c *cluster) start(ctx context.Context, temporary bool) (*node.Server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %s", startTimeout))
	defer cancel()

	if err := pki.Ensure(c.dir.pki(), serviceIP); err != nil {
		return nil, err
	}
	// The kubelet API listens in this process, so its port is safe from here on;
	// the API server's is free for it until it starts.
	var err error
	if c.ports, err = choosePorts(c.dir.ports()); err != nil {
		return nil, err
	}
	if err := c.writeConfigs(); err != nil {
		c.ports.close()
		return nil, err
	}
	if err := c.startControlPlane(ctx, temporary); err != nil {
		c.ports.close()
		return nil, err
	}
	server, err := node.Start(node.Options{
		Client:         c.client,
		Listener:       c.ports.kubeletListener,
		CertFile:       c.dir.cert(pki.Kubelet),
		KeyFile:        c.dir.key(pki.Kubelet),
		ClientCAFile:   c.dir.cert(pki.CA),
		ClientName:     pki.KubeletClientName,
		IngressAddress: c.opts.IngressAddress,
		LogFile:        c.dir.log("node"),
	})
	if err != nil {
		c.ports.close()
		return nil, err
	}
	if err := c.populate(ctx); err != nil {
		server.Close()
		return nil, err
	}
	return server, nil
}

// startControlPlane starts the processes in the order in which they need each
// other.
func (c *cluster) startControlPlane(ctx context.Context, temporary bool) error {
	if err := c.sup.start("etcd", c.etcdFlags(temporary)...); err != nil {
		return err
	}
	// An API server that finds no etcd sits in gRPC's back-off for seconds.
	if err := c.until(ctx, "etcd", func() error { _, err := os.Stat(c.dir.etcdSocket()); return err }); err != nil {
		return err
	}
	c.step("etcd runs")

	c.ports.apiServerListener.Close()
	if err := c.sup.start("kube-apiserver", c.apiServerFlags()...); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.dir.kubeconfig())
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400 // one process, on loopback
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	c.client = client
	err = c.until(ctx, "kube-apiserver", func() error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return err
	}
	c.step("kube-apiserver is ready on %s", c.server())

	for _, p := range []struct {
		name  string
		flags []string
	}{
		{"kube-controller-manager", c.controllerManagerFlags()},
		{"kube-scheduler", c.schedulerFlags()},
		{"kwok", c.kwokFlags()},
	} {
		if err := c.sup.start(p.name, p.flags...); err != nil {
			return err
		}
	}
	c.step("kube-controller-manager, kube-scheduler and kwok run")
	return nil
}

// announce tells that the cluster is ready: a file for who waits for a file, and
// the line on Out for who reads that.
func (c *cluster) announce() error {
	path := c.dir.kubeconfig()
	if err := os.WriteFile(c.dir.ready(), []byte(path+"\n"), 0o600); err != nil {
		return err
	}
	c.step("ready: Kubernetes with %d simulated nodes", c.opts.Nodes)
	_, err := fmt.Fprintf(c.opts.Out, "KUBECONFIG=%s\n", path)
	return err
}

// server is the URL of the API server.
func (c *cluster) server() string { return fmt.Sprintf("https://127.0.0.1:%d", c.ports.APIServer) }

// step prints one line of progress, with the seconds since the start.
func (c *cluster) step(format string, args ...any) {
	fmt.Fprintf(c.opts.Progress, "[%5.1fs] %s\n", time.Since(c.started).Seconds(), fmt.Sprintf(format, args...))
}

// until calls try until it succeeds, the deadline passes or a component dies.
func (c *cluster) until(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case died := <-c.sup.died:
			return died
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return context.Canceled
			}
			return fmt.Errorf("%s: %w; last: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
