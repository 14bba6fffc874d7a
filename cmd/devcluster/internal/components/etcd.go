package components

import (
	"errors"
	"flag"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdStart is how long etcd may take to serve; it needs about 0.3 s.
const etcdStart = 30 * time.Second

// etcd runs one member on unix sockets alone. With --remove-on-exit=DIR it takes
// that directory away once it has stopped: etcd is what ends last, so a cluster
// in a temporary directory leaves nothing behind even when the process that
// started it was killed.
func etcd() int {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dir := flags.String("data-dir", "", "where the data is")
	client := flags.String("client", "", "unix:// URL to serve clients on")
	peer := flags.String("peer", "", "unix:// URL to serve peers on")
	remove := flags.String("remove-on-exit", "", "directory to remove after stopping")
	_ = flags.Parse(os.Args[1:]) // ExitOnError

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	err := serveEtcd(*dir, *client, *peer, stop)
	if *remove != "" {
		err = errors.Join(err, os.RemoveAll(*remove))
	}
	if err != nil {
		return fail("etcd", err)
	}
	return 0
}

func serveEtcd(dir, client, peer string, stop <-chan os.Signal) error {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "devcluster", dir
	clientURL, err := url.Parse(client)
	if err != nil {
		return err
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return err
	}
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{*clientURL}, []url.URL{*peerURL}
	// etcd wants host and port in the URLs that it advertises. A single member
	// never dials its own, and nobody listens there.
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.LogLevel = "warn"
	// A process that dies loses nothing without fsync, only a machine does, and
	// this is a throw-away cluster: starting takes a second less.
	cfg.UnsafeNoFsync = true
	// embed.NewConfig leaves this 0, which warns about every single request.
	cfg.WarningUnaryRequestDuration = 500 * time.Millisecond

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case <-stop:
		return nil
	case err := <-e.Err():
		return err
	case <-time.After(etcdStart):
		return errors.New("not ready after " + etcdStart.String())
	}
	select {
	case <-stop:
		return nil
	case err := <-e.Err():
		return err
	}
}
