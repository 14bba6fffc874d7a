// Package node plays those parts of a node, and of the add-ons of a cluster, that
// neither KWOK nor the control plane has: it serves the logs of pods over the
// kubelet API, writes the events that a kubelet writes, provides volumes, and on
// demand gives Ingresses and LoadBalancers an address.
//
// It executes nothing and mounts nothing on this machine.
package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// resync is how often everything is looked at again: failed writes are retried,
// and events that a kubelet repeats are repeated.
const resync = 15 * time.Second

// Options are what Start needs. All but IngressAddress are required.
type Options struct {
	Client         kubernetes.Interface
	Listener       net.Listener // of the kubelet API; on loopback. Start takes it over
	CertFile       string       // the kubelet API's certificate
	KeyFile        string
	ClientCAFile   string // the authority of those who may call it
	ClientName     string // the common name of who may call it
	IngressAddress net.IP // nil: Ingresses and LoadBalancers get none
	LogFile        string // gets this package's log, and client-go's
}

// Server is the running whole. Close it once.
type Server struct {
	http   *http.Server
	cancel context.CancelFunc
	wg     sync.WaitGroup
	log    *os.File
}

// Start begins to serve and to watch, and returns once it knows all pods.
func Start(opts Options) (*Server, error) {
	tlsConfig, err := serverTLS(opts)
	if err != nil {
		return nil, fmt.Errorf("kubelet API: %w", err)
	}
	out, err := os.Create(opts.LogFile)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	klog.SetSlogLogger(log) // client-go's informers report through klog

	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cancel: cancel, log: out}
	factory := informers.NewSharedInformerFactory(opts.Client, resync)
	pods := factory.Core().V1().Pods()

	watchers := []func() error{
		newNarrator(ctx, opts.Client).watch(pods.Informer()),
		newProvisioner(ctx, opts.Client, log).watch(factory),
	}
	if opts.IngressAddress != nil {
		watchers = append(watchers, newAddresser(ctx, opts.Client, opts.IngressAddress, log).watch(factory))
	}
	for _, watch := range watchers {
		if err := watch(); err != nil {
			s.Close()
			return nil, err
		}
	}
	factory.Start(ctx.Done())
	s.wg.Go(func() { <-ctx.Done(); factory.Shutdown() })
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced) {
		s.Close()
		return nil, errors.New("the list of pods did not come")
	}

	k := &kubelet{pods: pods.Lister(), client: opts.ClientName, log: log}
	s.http = &http.Server{
		Handler:           k.handler(),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.wg.Go(func() {
		if err := s.http.ServeTLS(opts.Listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Error("kubelet API ended", "err", err)
		}
	})
	return s, nil
}

// Close stops all of it, followed logs included.
func (s *Server) Close() {
	s.cancel()
	if s.http != nil {
		s.http.Close()
	}
	s.wg.Wait()
	klog.ClearLogger()
	s.log.Close()
}

func serverTLS(opts Options) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(opts.CertFile, opts.KeyFile)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(opts.ClientCAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate in it", opts.ClientCAFile)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
		// exec over SPDY and its kind upgrade HTTP/1.1 connections; that they are
		// refused should be what the caller reads.
		NextProtos: []string{"http/1.1"},
	}, nil
}

// on makes an informer's handler of f, which gets objects of type T as they are
// added, changed and looked at again.
func on[T any](f func(T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) {
			if t, ok := o.(T); ok {
				f(t)
			}
		},
		UpdateFunc: func(_, o any) {
			if t, ok := o.(T); ok {
				f(t)
			}
		},
	}
}
