package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// ports are the two that a cluster listens on, both on loopback. They are kept
// in the data directory: after a restart the address in a kubeconfig is right.
type ports struct {
	APIServer int `json:"apiserver"`
	Kubelet   int `json:"kubelet"`

	// Held until the one who listens there takes over.
	apiServerListener, kubeletListener net.Listener
}

// choosePorts takes the ports that the file at path names, where they are still
// free, else others, and keeps what it took.
func choosePorts(path string) (ports, error) {
	var p ports
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ports{}, fmt.Errorf("%s: %w", path, err)
	}
	if p.apiServerListener, err = listen(&p.APIServer); err != nil {
		return ports{}, err
	}
	if p.kubeletListener, err = listen(&p.Kubelet); err != nil {
		p.close()
		return ports{}, err
	}
	if data, err = json.Marshal(p); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		p.close()
		return ports{}, err
	}
	return p, nil
}

// listen listens on the port of loopback, or on any if that one is taken or 0,
// and sets port to it.
func listen(port *int) (net.Listener, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil && *port != 0 {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	*port = l.Addr().(*net.TCPAddr).Port
	return l, nil
}

// close gives up what is still held.
func (p ports) close() {
	for _, l := range []net.Listener{p.apiServerListener, p.kubeletListener} {
		if l != nil {
			l.Close()
		}
	}
}
