package testdb

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
)

// An Engine is the docker daemon, for packages that start containers of a kind
// that this one does not. What is made there must have the Labels: then [Main]
// removes it, and so does the next process if this one is killed.
type Engine struct {
	*client.Client

	Image  string            // PostgreSQL's, of the version asked for
	Host   string            // where published ports are
	Labels map[string]string // go on every container, network and volume

	docker *docker
}

// Connect returns the daemon, on which the image is by then. The version is a
// major one of PostgreSQL; empty means what SCHEDULER_TEST_PG says.
//
// The caller should call Close when nothing is asked for in a while: it closes
// idle connections, and nothing else.
func Connect(ctx context.Context, major string) (*Engine, error) {
	d, err := connect()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	image, err := d.image(ctx, cmp.Or(major, version()), os.Getenv)
	if err != nil {
		return nil, err
	}
	host := os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") // see connect
	if host == "" {
		daemon, err := url.Parse(d.DaemonHost())
		if err != nil {
			return nil, fmt.Errorf("the docker daemon's address: %w", err)
		}
		host = daemon.Hostname()
	}
	return &Engine{Client: d.Client, Image: image, Host: host, Labels: labels(), docker: d}, nil
}

// Publish maps a port of a container, such as "5432/tcp", to one of this machine,
// on the loopback if docker is here.
func (e *Engine) Publish(containerPort string, port int) network.PortMap {
	return e.docker.publish(containerPort, port)
}
