package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	// DiskSizeDefault is the size of a server's disk where none is given.
	DiskSizeDefault = 2 << 30

	// requestTimeout bounds a request to docker that must not be broken off.
	requestTimeout = time.Minute

	// removeTimeout bounds the removal of everything.
	removeTimeout = time.Minute

	// labelFleet has the fleet's name, on all that belongs to it.
	labelFleet = "scheduler.fleet"

	// sharedFolder is where every container has the volume with the programs and the
	// clock.
	sharedFolder = "/fleet"
)

// Options describe a fleet. The zero value is usable.
type Options struct {
	// Version is the major version of PostgreSQL. Empty means what SCHEDULER_TEST_PG
	// says, and else 17.
	Version string
	// Clock lets [Fleet.SetClock] set the servers' clock. Asking for the time is slow
	// then.
	Clock bool
	// NoStandby leaves out the standby: cheaper, and Failover is refused.
	NoStandby bool
	// DiskSize is the size of each server's disk in bytes. Zero means
	// [DiskSizeDefault].
	DiskSize int64
	// Args are further arguments of the servers, such as "-c", "max_connections=20".
	Args []string
	// Build says which programs the replicas can run.
	Build BuildOptions
}

// BuildOptions say how the replicas' program is built. It is always static, with the
// build tag failpoint and with a clock that can be wrong.
type BuildOptions struct {
	// Old is a revision of git of which a second program is built, for
	// [ReplicaOptions.Old]. Empty means none.
	Old string
}

// Fleet is a network with servers and replicas. Its methods and those of what is in
// it may be called from several goroutines; but those that start, end or promote a
// server from one at a time.
type Fleet struct {
	options Options
	engine  *testdb.Engine
	arch    string
	name    string
	network string // its id
	shared  string // the volume at sharedFolder

	clockBase time.Duration // by how much the servers' real clock is ahead of ours

	closing sync.RWMutex // held while something is made, so that Close sees it or prevents it
	closed  bool

	mu        sync.Mutex
	boxes     []*box // whose watchers are to be joined
	servers   []*Server
	primary   *Server
	standby   *Server // nil if there is none
	former    *Server // the old primary between Failover and Rebuild
	kept      *Replica
	replicas  []*Replica
	started   int // how many replicas were, ever
	toxiproxy *toxiproxy

	proxying sync.Mutex // toxiproxy is being started
}

// New makes a network with a primary and a standby, on which there is an empty
// database "app" that belongs to the role app. The context bounds the start only; if
// that fails nothing is left of it.
func New(ctx context.Context, o Options) (*Fleet, error) {
	engine, err := testdb.Connect(ctx, o.Version)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	f := prepare(engine, o)
	if err := f.openOrClose(ctx); err != nil {
		return nil, err
	}
	return f, nil
}

// prepare makes a fleet of which nothing exists yet.
func prepare(engine *testdb.Engine, o Options) *Fleet {
	if o.DiskSize == 0 {
		o.DiskSize = DiskSizeDefault
	}
	return &Fleet{options: o, engine: engine, name: "scheduler-fleet-" + rand.Text()[:8]}
}

func (f *Fleet) openOrClose(ctx context.Context) error {
	if err := f.open(ctx); err != nil {
		return errors.Join(fmt.Errorf("fleet: %w", err), f.Close(ctx))
	}
	f.engine.Close()
	return nil
}

func (f *Fleet) open(ctx context.Context) error {
	image, err := f.engine.ImageInspect(ctx, f.engine.Image)
	if err != nil {
		return fmt.Errorf("look at image %s: %w", f.engine.Image, err)
	}
	f.arch = image.Architecture
	if err := f.makeNetwork(ctx); err != nil {
		return fmt.Errorf("make a network: %w", err)
	}
	if f.shared, err = f.volume(ctx, "shared", nil); err != nil {
		return err
	}

	programs := map[string][]byte{}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if programs[replicaProgram], err = buildReplica(groupCtx, f.arch); err == nil && f.options.Build.Old != "" {
			programs[oldProgram], err = buildOldReplica(groupCtx, f.options.Build.Old, f.arch)
		}
		return err
	})
	group.Go(func() error { return f.openServers(groupCtx) })
	if err := group.Wait(); err != nil {
		return err
	}
	for name, program := range programs {
		if err := f.primary.host.put(ctx, sharedFolder, name, 0o755, program); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the fleet with all its data. A second call does nothing. It goes on
// when the context has ended, for a minute at most.
func (f *Fleet) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	defer f.engine.Close()
	f.closing.Lock()
	f.closed = true
	f.closing.Unlock()
	f.mu.Lock()
	boxes, toxiproxy := f.boxes, f.toxiproxy
	f.boxes = nil
	f.mu.Unlock()

	var group errgroup.Group
	group.SetLimit(8)
	removals := make([]error, len(boxes))
	for i, b := range boxes {
		group.Go(func() error {
			removals[i] = b.remove(ctx)
			return nil
		})
	}
	errs := []error{group.Wait(), errors.Join(removals...)}
	if toxiproxy != nil {
		toxiproxy.api.CloseIdleConnections()
	}

	if f.network != "" {
		errs = append(errs, f.whenFree(ctx, func() error {
			_, err := f.engine.NetworkRemove(ctx, f.network, client.NetworkRemoveOptions{})
			return err
		}))
	}
	volumes, err := f.engine.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("label", labelFleet+"="+f.name)})
	errs = append(errs, err)
	for _, v := range volumes.Items {
		errs = append(errs, f.whenFree(ctx, func() error {
			_, err := f.engine.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
			return err
		}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fleet: remove %s: %w", f.name, err)
	}
	return nil
}

// whenFree removes a network or a volume. The daemon may use it for a moment still,
// for a copy that was interrupted.
func (f *Fleet) whenFree(ctx context.Context, remove func() error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := remove()
		if errdefs.IsNotFound(err) {
			return nil
		}
		if !errdefs.IsConflict(err) && !errdefs.IsPermissionDenied(err) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// URL is how to connect from this machine, as the superuser, to the database on the
// server that is the primary now.
func (f *Fleet) URL() string { return f.Primary().url(superuser, superuserPassword, database) }

// AppURL is [Fleet.URL] for the role app.
func (f *Fleet) AppURL() string { return f.Primary().url(appUser, appPassword, database) }

// MakeRoles makes the roles of the scheduler, that of the replicas among them, as
// [testdb.MakeRoles] does. Call it between the migration and the making of [Tables].
func (f *Fleet) MakeRoles(ctx context.Context) error {
	return testdb.MakeRoles(ctx, f.URL(), scheduler.SchemaDefault)
}

// Primary is the server that was made the primary last.
func (f *Fleet) Primary() *Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.primary
}

// Standby is the server that follows the primary; nil if there is none.
func (f *Fleet) Standby() *Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.standby
}

// Replicas are the replicas whose container runs, in the order of their start.
func (f *Fleet) Replicas() []*Replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	var running []*Replica
	for _, r := range f.replicas {
		if r.box.running() {
			running = append(running, r)
		}
	}
	return running
}

// whole lets a request to docker end that makes something, whatever happens to ctx
// meanwhile: docker would make it all the same, and nobody would know of it.
func whole(ctx context.Context, request func(ctx context.Context) error) error {
	return testdb.Guard(ctx, func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		return request(ctx)
	})
}

func (f *Fleet) labels() map[string]string {
	labels := maps.Clone(f.engine.Labels)
	labels[labelFleet] = f.name
	return labels
}

func (f *Fleet) makeNetwork(ctx context.Context) error {
	return whole(ctx, func(ctx context.Context) error {
		created, err := f.engine.NetworkCreate(ctx, f.name, client.NetworkCreateOptions{Driver: "bridge", Labels: f.labels()})
		f.network = created.ID
		return err
	})
}

func (f *Fleet) volume(ctx context.Context, name string, options map[string]string) (string, error) {
	var created client.VolumeCreateResult
	err := whole(ctx, func(ctx context.Context) (err error) {
		created, err = f.engine.VolumeCreate(ctx, client.VolumeCreateOptions{
			Name: f.name + "-" + name, Driver: "local", DriverOpts: options, Labels: f.labels(),
		})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("make a volume for %s: %w", name, err)
	}
	return created.Volume.Name, nil
}

// create makes a container of the fleet, which does not run yet.
func (f *Fleet) create(ctx context.Context, name string, config *container.Config, host *container.HostConfig) (*box, error) {
	config.Image, config.Labels = f.engine.Image, f.labels()
	f.closing.RLock()
	defer f.closing.RUnlock()
	if f.closed {
		return nil, fmt.Errorf("make %s: the fleet is closed", name)
	}
	var created client.ContainerCreateResult
	err := whole(ctx, func(ctx context.Context) (err error) {
		created, err = f.engine.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: f.name + "-" + name, Config: config, HostConfig: host,
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	b := &box{engine: f.engine, id: created.ID, name: name}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boxes = append(f.boxes, b)
	return b, nil
}

// remove removes a container of the fleet for good.
func (f *Fleet) remove(ctx context.Context, b *box) error {
	if err := b.remove(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.boxes {
		if f.boxes[i] == b {
			f.boxes = append(f.boxes[:i:i], f.boxes[i+1:]...)
			break
		}
	}
	return nil
}
