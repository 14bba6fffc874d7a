package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// layout is the data directory; its methods are the paths in it.
type layout string

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{string(l)}, elem...)...)
}

func (l layout) pki() string               { return l.path("pki") }
func (l layout) cert(name string) string   { return l.path("pki", name+".crt") }
func (l layout) key(name string) string    { return l.path("pki", name+".key") }
func (l layout) config(name string) string { return l.path("config", name) }
func (l layout) log(name string) string    { return l.path("logs", name+".log") }
func (l layout) etcdData() string          { return l.path("etcd") }
func (l layout) etcdSocket() string        { return l.path(etcdSocket) }
func (l layout) ports() string             { return l.path("ports.json") }
func (l layout) lock() string              { return l.path("lock") }

// ready is a file that is there while the cluster is ready; it holds the path of
// the kubeconfig.
func (l layout) ready() string { return l.path("ready") }

// kubeconfig is the administrator's.
func (l layout) kubeconfig() string { return l.path("admin.kubeconfig") }

// etcdSocket and etcdPeerSocket are relative to the data directory, which is the
// components' working directory: the path of a unix socket may not be longer
// than 107 bytes (unix(7)), and a data directory's can be.
const (
	etcdSocket     = "etcd.sock"
	etcdPeerSocket = "etcd-peer.sock"
)

// create makes the directories, for this user alone: they hold keys.
func (l layout) create() error {
	for _, d := range []string{string(l), l.path("config"), l.path("logs"), l.etcdData()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	return nil
}
