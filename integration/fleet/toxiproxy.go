package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	toxiproxyPort  = 8474
	toxiproxyProto = "8474/tcp"
	// proxyPorts is where the ports of the replicas' proxies begin.
	proxyPorts = 20000
	// latencyMilliseconds is how long data is held back, each way.
	latencyMilliseconds = 200
)

// toxiproxy is the program that slows connections down, in a container of its own:
// the kernels of many machines cannot delay packets.
type toxiproxy struct {
	box     *box
	ip      netip.Addr
	address string // of its API, for this machine
	api     *http.Client
}

// startToxiproxy starts it when the first replica needs it.
func (f *Fleet) startToxiproxy(ctx context.Context) (*toxiproxy, error) {
	f.proxying.Lock()
	defer f.proxying.Unlock()
	if f.toxiproxy != nil {
		return f.toxiproxy, nil
	}
	program, err := buildToxiproxy(ctx, f.arch)
	if err != nil {
		return nil, err
	}
	if err := f.servers[0].host.put(ctx, sharedFolder, "toxiproxy", 0o755, program); err != nil {
		return nil, err
	}
	port := testdb.FreePort()
	b, err := f.create(ctx, "toxiproxy", &container.Config{
		Entrypoint:   []string{sharedFolder + "/toxiproxy", "-host", "0.0.0.0", "-port", strconv.Itoa(toxiproxyPort)},
		ExposedPorts: network.PortSet{network.MustParsePort(toxiproxyProto): {}},
	}, &container.HostConfig{
		NetworkMode:  container.NetworkMode(f.network),
		PortBindings: f.engine.Publish(toxiproxyProto, port),
		CapAdd:       []string{"NET_ADMIN"},
		Mounts:       []mount.Mount{f.mountShared(true)},
		Tmpfs:        noDisk(),
	})
	if err != nil {
		return nil, err
	}
	t := &toxiproxy{box: b, address: net.JoinHostPort(f.engine.Host, strconv.Itoa(port)), api: &http.Client{Transport: &http.Transport{}}}
	if err = b.start(ctx); err == nil {
		t.ip, err = f.addressOf(ctx, b)
	}
	if err == nil {
		err = b.until(ctx, "answers", func(ctx context.Context) error { return t.call(ctx, http.MethodGet, "/version", nil) })
	}
	if err != nil {
		return nil, errors.Join(err, f.remove(context.WithoutCancel(ctx), b))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.toxiproxy = t
	return t, nil
}

// call calls toxiproxy's API. What it finds in the state that is asked for already is
// fine.
func (t *toxiproxy) call(ctx context.Context, method, path string, body any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+t.address+path, content)
	if err != nil {
		return err
	}
	response, err := t.api.Do(request)
	if err != nil {
		return fmt.Errorf("toxiproxy: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("toxiproxy: %s %s: %w", method, path, err)
	}
	switch {
	case response.StatusCode < 300:
	case method == http.MethodPost && response.StatusCode == http.StatusConflict:
	case method == http.MethodDelete && response.StatusCode == http.StatusNotFound:
	default:
		return fmt.Errorf("toxiproxy: %s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// newRoutes says how a replica reaches each server, and makes its proxies.
func (f *Fleet) newRoutes(ctx context.Context, r *Replica) ([]route, error) {
	var routes []route
	for _, s := range f.servers {
		routes = append(routes, route{server: s, box: s.host, ip: s.ip, port: postgresPort})
	}
	if !r.Options.Proxied {
		return routes, nil
	}
	t, err := f.startToxiproxy(ctx)
	if err != nil {
		return nil, err
	}
	for i := range routes {
		port := proxyPorts + r.number*len(f.servers) + i
		err := t.call(ctx, http.MethodPost, "/proxies", map[string]any{
			"name": r.proxy(i), "enabled": true,
			"listen":   "0.0.0.0:" + strconv.Itoa(port),
			"upstream": net.JoinHostPort(routes[i].ip.String(), strconv.Itoa(routes[i].port)),
		})
		if err != nil {
			return nil, errors.Join(err, f.dropProxies(context.WithoutCancel(ctx), r))
		}
		routes[i] = route{server: routes[i].server, box: t.box, ip: t.ip, port: port}
	}
	return routes, nil
}

// proxy is the name of the replica's proxy for a server.
func (r *Replica) proxy(server int) string { return fmt.Sprintf("replica-%d-%d", r.number, server) }

func (f *Fleet) dropProxies(ctx context.Context, r *Replica) error {
	f.mu.Lock()
	t := f.toxiproxy
	f.mu.Unlock()
	if t == nil || !t.box.running() {
		return nil
	}
	var errs []error
	for i := range f.servers {
		errs = append(errs, t.call(ctx, http.MethodDelete, "/proxies/"+r.proxy(i), nil))
	}
	return errors.Join(errs...)
}

// setLatency slows the replica's connections down, or no longer.
func (r *Replica) setLatency(ctx context.Context, on bool) error {
	if !r.Options.Proxied {
		return errors.New("its connections go straight: start it with ReplicaOptions.Proxied")
	}
	t := r.fleet.toxiproxy // there since the replica was started
	for i := range r.routes {
		toxics := "/proxies/" + r.proxy(i) + "/toxics"
		for _, stream := range []string{"upstream", "downstream"} {
			var err error
			if on {
				err = t.call(ctx, http.MethodPost, toxics, map[string]any{
					"name": stream, "type": "latency", "stream": stream,
					"attributes": map[string]any{"latency": latencyMilliseconds},
				})
			} else {
				err = t.call(ctx, http.MethodDelete, toxics+"/"+stream, nil)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
