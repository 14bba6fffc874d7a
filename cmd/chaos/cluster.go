package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// cluster is a real control plane with simulated nodes, and the line on which
// the replicas' executors reach it.
type cluster struct {
	name       string
	program    string // devcluster
	dir        string
	process    *process
	line       *line
	kubeconfig string // for the replicas: through the line
	client     *kubernetes.Clientset
}

// newCluster starts a control plane and waits until it is ready.
func newCluster(ctx context.Context, name, program, dir string) (*cluster, error) {
	c := &cluster{name: name, program: program, dir: filepath.Join(dir, "cluster-"+name)}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return c, err
	}
	told, err := os.ReadFile(filepath.Join(c.dir, "ready"))
	if err != nil {
		return c, err
	}
	direct := strings.TrimSpace(string(told))
	config, err := clientcmd.LoadFromFile(direct)
	if err != nil {
		return c, err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", direct)
	if err != nil {
		return c, err
	}
	rest.QPS, rest.Burst = 200, 400
	if c.client, err = kubernetes.NewForConfig(rest); err != nil {
		return c, err
	}
	for _, one := range config.Clusters {
		server, err := url.Parse(one.Server)
		if err != nil {
			return c, err
		}
		if c.line, err = newLine("cluster "+name, server.Host); err != nil {
			return c, err
		}
		one.Server = "https://" + c.line.proxy.Listen
	}
	c.kubeconfig = filepath.Join(c.dir, "through.kubeconfig")
	return c, clientcmd.WriteToFile(*config, c.kubeconfig)
}

// start starts the control plane on what it has written before, on the same
// port and with the same certificates.
func (c *cluster) start(ctx context.Context) (err error) {
	ready := filepath.Join(c.dir, "ready")
	if err := os.Remove(ready); err != nil && !os.IsNotExist(err) {
		return err
	}
	if c.process, err = start(filepath.Join(c.dir, "devcluster.log"), os.Environ(), c.program, "up", "--data-dir", c.dir, "--nodes", "4"); err != nil {
		return err
	}
	return await(ctx, 2*patience, "cluster "+c.name+" to be ready", func() (bool, error) {
		select {
		case <-c.process.ended:
			return false, fmt.Errorf("the control plane of %s ended; see %s", c.name, c.dir)
		default:
			_, err := os.Stat(ready)
			return err == nil, nil
		}
	})
}

// close ends the control plane for good.
func (c *cluster) close() {
	if c.line != nil {
		c.line.close()
	}
	c.process.kill()
}
