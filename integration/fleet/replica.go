package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	replicaProgram = "replica"
	oldProgram     = "replica-old"

	// markEnv tells a replica's process from every other.
	markEnv = "SCHEDULER_FLEET_REPLICA"

	// signalTimeout bounds the delivery of a signal through docker.
	signalTimeout = 30 * time.Second
	// seenTimeout bounds the wait for the program to be seen in /proc.
	seenTimeout = 2 * time.Second
)

// ReplicaOptions describe a replica. Only ID is required.
type ReplicaOptions struct {
	// ID must differ at every start: the scheduler asks for that.
	ID string
	// Proxied lets the replica connect through toxiproxy, so that [Latency] is
	// possible, and not straight.
	Proxied bool
	// Old runs the program of [BuildOptions.Old].
	Old bool
	// ClockOffset is by how much the replica's clock is wrong.
	ClockOffset time.Duration
	// Env is more environment, as name=value.
	Env []string
}

// Replica is a process of the scheduler in a container of its own.
type Replica struct {
	ID      string
	Options ReplicaOptions

	fleet  *Fleet
	number int // in the order of their start
	box    *box
	ip     netip.Addr
	routes []route
	exited <-chan struct{}
	// process is the replica's if it can be signalled from here, else nil.
	process *os.Process

	cutting sync.Mutex   // one change of the rules at a time
	cuts    map[Cut]bool // what is cut
	ruled   map[*box]bool
}

// route is one way on which a replica reaches a server: straight or by a proxy.
type route struct {
	server *Server
	box    *box // on whose network the other end is
	ip     netip.Addr
	port   int
}

// StartReplica starts a replica. It returns when the process runs, not when the
// replica has joined. While a replica is alone with the old primary after
// [Fleet.Failover], a new one is cut from that.
func (f *Fleet) StartReplica(ctx context.Context, o ReplicaOptions) (*Replica, error) {
	defer f.engine.Close()
	r := &Replica{ID: o.ID, Options: o, fleet: f, cuts: map[Cut]bool{}, ruled: map[*box]bool{}}
	err := r.start(ctx)
	if err == nil {
		return r, nil
	}
	err = fmt.Errorf("fleet: start replica %s: %w", o.ID, err)
	if r.box != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		err = errors.Join(err, r.Remove(cleanup))
	}
	return nil, err
}

func (r *Replica) start(ctx context.Context) (err error) {
	r.fleet.mu.Lock()
	r.fleet.started++
	r.number = r.fleet.started
	r.fleet.mu.Unlock()
	if r.routes, err = r.fleet.newRoutes(ctx, r); err != nil {
		return err
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	if err := r.box.start(ctx); err != nil {
		return err
	}
	r.exited = r.box.ended()
	if r.ip, err = r.fleet.addressOf(ctx, r.box); err != nil {
		return err
	}
	if err := r.fleet.forget(ctx, r.ip); err != nil {
		return err
	}
	r.process = r.findProcess(ctx)
	r.fleet.mu.Lock()
	r.fleet.replicas = append(r.fleet.replicas, r)
	r.fleet.mu.Unlock()
	return r.applyRules(ctx)
}

// create makes the container. Its process is the replica itself, so that signals
// reach it.
func (r *Replica) create(ctx context.Context) error {
	program := replicaProgram
	if r.Options.Old {
		if r.fleet.options.Build.Old == "" {
			return errors.New("there is no old program: name its revision in Options.Build.Old")
		}
		program = oldProgram
	}
	config := &container.Config{
		Env: append([]string{
			"SCHEDULER_REPLICA_URL=" + r.url(),
			"SCHEDULER_REPLICA_ID=" + r.ID,
			markEnv + "=" + r.mark(),
			clockEnv + "=" + strconv.FormatInt(int64(r.Options.ClockOffset), 10),
		}, r.Options.Env...),
		Entrypoint: []string{sharedFolder + "/" + program},
	}
	rules := r.firstRules()
	if rules != "" {
		config.Entrypoint = []string{"bash", "-ec", `nft -f - <<<"$1"; exec "$2"`, "bash", rules, config.Entrypoint[0]}
	}
	var err error
	r.box, err = r.fleet.create(ctx, "replica-"+r.ID, config, &container.HostConfig{
		NetworkMode: container.NetworkMode(r.fleet.network),
		CapAdd:      []string{"NET_ADMIN"},
		Mounts:      []mount.Mount{r.fleet.mountShared(true)},
		Tmpfs:       noDisk(),
	})
	if errdefs.IsConflict(err) {
		return fmt.Errorf("there is one of that name: Remove it first: %w", err)
	}
	if err != nil {
		return err
	}
	r.ruled[r.box] = rules != ""
	return nil
}

// mark is a text that no other process has in its environment.
func (r *Replica) mark() string { return r.fleet.name + "/" + r.ID }

// url names every server: who connects takes the one that can be written to.
func (r *Replica) url() string {
	var hosts []string
	for _, route := range r.routes {
		hosts = append(hosts, net.JoinHostPort(route.ip.String(), strconv.Itoa(route.port)))
	}
	return "postgres://" + scheduler.RolesDefault().Serve + ":" + testdb.RolePassword + "@" + strings.Join(hosts, ",") + "/" + database +
		"?target_session_attrs=read-write&connect_timeout=3&sslmode=disable"
}

// findProcess looks for the replica's process on this machine. It returns nil where
// that cannot be seen or signalled: docker may be on another machine, or its
// processes in another namespace. Numbers are used again, so the environment decides.
func (r *Replica) findProcess(ctx context.Context) *os.Process {
	inspected, err := r.fleet.engine.ContainerInspect(ctx, r.box.id, client.ContainerInspectOptions{})
	if err != nil || inspected.Container.State == nil || inspected.Container.State.Pid <= 0 {
		return nil
	}
	pid := inspected.Container.State.Pid
	process, err := os.FindProcess(pid)
	if err != nil || process.Signal(syscall.Signal(0)) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	err = r.box.until(ctx, "shows in /proc", func(context.Context) error {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			return err
		}
		if !bytes.Contains(environment, []byte(markEnv+"="+r.mark()+"\x00")) {
			return errors.New("another process")
		}
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && !strings.HasPrefix(program, sharedFolder+"/") {
			err = errors.New("not the replica yet")
		}
		return err
	})
	if err != nil {
		_ = process.Release()
		return nil
	}
	return process
}

// Signal sends the process a signal. Straight, where this machine can: that takes
// microseconds. Else docker does, which takes a hundred milliseconds.
func (r *Replica) Signal(sig syscall.Signal) error {
	var err error
	if r.process != nil {
		err = r.process.Signal(sig)
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
		defer cancel()
		defer r.fleet.engine.Close()
		err = r.box.kill(ctx, sig)
	}
	if err != nil {
		return fmt.Errorf("fleet: send replica %s the signal %q: %w", r.ID, sig, err)
	}
	return nil
}

// Kill kills the process with SIGKILL and does not wait. That it has ended is fine.
func (r *Replica) Kill() error {
	err := r.Signal(syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) || errdefs.IsConflict(err) || errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Exited is closed when the process has ended.
func (r *Replica) Exited() <-chan struct{} { return r.exited }

// ExitCode is the process's exit code, 137 after SIGKILL; to be asked for after
// Exited. It is -1 if it is not known.
func (r *Replica) ExitCode() int {
	r.box.mu.Lock()
	defer r.box.mu.Unlock()
	return r.box.code
}

// Log is all that the process has written.
func (r *Replica) Log(ctx context.Context) (string, error) {
	defer r.fleet.engine.Close()
	text, err := r.box.log(ctx)
	if err != nil {
		return "", fmt.Errorf("fleet: %w", err)
	}
	return text, nil
}

// Remove kills the process if need be, and removes the container with all that was
// cut. A second call does nothing.
func (r *Replica) Remove(ctx context.Context) error {
	defer r.fleet.engine.Close()
	var errs []error
	errs = append(errs, r.fleet.remove(ctx, r.box))
	r.cutting.Lock()
	defer r.cutting.Unlock()
	errs = append(errs, r.dropRules(ctx))
	if r.Options.Proxied {
		errs = append(errs, r.fleet.dropProxies(ctx, r))
	}
	f := r.fleet
	f.mu.Lock()
	for i := range f.replicas {
		if f.replicas[i] == r {
			f.replicas = append(f.replicas[:i:i], f.replicas[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	if r.process != nil {
		_ = r.process.Release()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fleet: remove replica %s: %w", r.ID, err)
	}
	return nil
}

// forget drops the rules about replicas that have ended, and whose address a new one
// has been given.
func (f *Fleet) forget(ctx context.Context, ip netip.Addr) error {
	f.mu.Lock()
	var before []*Replica
	for _, r := range f.replicas {
		if r.ip == ip {
			before = append(before, r)
		}
	}
	f.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range before {
		group.Go(func() error {
			r.cutting.Lock()
			defer r.cutting.Unlock()
			return r.dropRules(ctx)
		})
	}
	return group.Wait()
}
