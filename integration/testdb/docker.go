package testdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

const (
	// labelOwner is on everything that this package starts, see owner.
	labelOwner = "scheduler.testdb.owner"
	// labelKeep is on what outlives its owner, see keepFailed.
	labelKeep = "scheduler.testdb.keep"

	// localRepository is what integration/image/build.sh makes.
	localRepository = "scheduler-test-postgres"

	versionDefault = "17"

	// pullTimeout is long enough for a slow network. A registry that is not there
	// fails much sooner.
	pullTimeout = 5 * time.Minute
)

// docker is the daemon that runs the containers.
type docker struct {
	*testcontainers.DockerClient
	local bool // its published ports are on this machine's loopback
}

// connected is true once connect has been called.
var connected atomic.Bool

// connect returns the daemon. The first call sets up testcontainers, and removes
// what processes that were killed have left.
var connect = sync.OnceValues(func() (*docker, error) {
	connected.Store(true)
	log.SetDefault(log.NewNoopLogger())
	// Its reaper is one more image to fetch; owner labels do the same for us.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err == nil {
		_, err = c.Ping(ctx, client.PingOptions{})
	}
	if err != nil {
		return nil, fmt.Errorf("docker does not answer: start its daemon (service docker start), or point DOCKER_HOST at one: %w", err)
	}

	d := &docker{DockerClient: c, local: strings.HasPrefix(c.DaemonHost(), "unix://")}
	// testcontainers dials the gateway of docker's network if it takes this
	// machine for a container. The ports are on the loopback all the same.
	if _, set := os.LookupEnv("TESTCONTAINERS_HOST_OVERRIDE"); d.local && !set {
		if err := os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1"); err != nil {
			return nil, err
		}
	}
	return d, d.removeLeftovers(ctx)
})

// removeLeftovers removes what belongs to processes that are gone.
func (d *docker) removeLeftovers(ctx context.Context) error {
	return d.removeOwned(ctx, func(o owner, keep bool) bool { return !keep && o.gone() })
}

// removeOwned removes the containers, networks and volumes whose owner is chosen.
// That another process is removing the same is fine.
func (d *docker) removeOwned(ctx context.Context, chosen func(o owner, keep bool) bool) error {
	defer d.Close()
	picked := func(labels map[string]string) bool {
		o, ok := parseOwner(labels[labelOwner])
		return ok && chosen(o, labels[labelKeep] != "")
	}

	var errs []error
	filters := make(client.Filters).Add("label", labelOwner)
	containers, err := d.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	errs = append(errs, err)
	for _, c := range containers.Items {
		if picked(c.Labels) {
			errs = append(errs, d.remove(ctx, c.ID))
		}
	}
	networks, err := d.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	errs = append(errs, err)
	for _, n := range networks.Items {
		if picked(n.Labels) {
			_, err := d.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
			if errdefs.IsPermissionDenied(err) {
				continue // a container that another process is removing still uses it
			}
			errs = append(errs, IgnoreGone(err))
		}
	}
	volumes, err := d.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	errs = append(errs, err)
	for _, v := range volumes.Items {
		if picked(v.Labels) {
			_, err := d.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
			errs = append(errs, IgnoreGone(err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove containers: %w", err)
	}
	return nil
}

// remove ends a container, in whatever state it is, and removes it with its
// volumes.
func (d *docker) remove(ctx context.Context, id string) error {
	_, err := d.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return IgnoreGone(err)
}

// IgnoreGone drops the error that says that somebody else has removed the thing,
// or is about to.
func IgnoreGone(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// image chooses the image for a major version of PostgreSQL; it is here, on the
// daemon, when image returns.
func (d *docker) image(ctx context.Context, version string, getenv func(string) string) (string, error) {
	if chosen := getenv("SCHEDULER_TEST_IMAGE_" + version); chosen != "" {
		return chosen, nil
	}
	local, official := localRepository+":"+version, "postgres:"+version
	for _, candidate := range []string{local, official} {
		_, err := d.ImageInspect(ctx, candidate)
		if err == nil {
			return candidate, nil
		}
		if !errdefs.IsNotFound(err) {
			return "", fmt.Errorf("look for image %s: %w", candidate, err)
		}
	}

	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	pull, err := d.ImagePull(ctx, official, client.ImagePullOptions{})
	if err == nil {
		err = pull.Wait(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("no image for PostgreSQL %s: run `make image`, or name one in SCHEDULER_TEST_IMAGE_%s (%s is not here, and %s cannot be pulled: %w)", version, version, local, official, err)
	}
	return official, nil
}

// run starts a container that this process owns. If that fails nothing is left
// of it.
func (d *docker) run(ctx context.Context, image string, options ...testcontainers.ContainerCustomizer) (*testcontainers.DockerContainer, error) {
	options = append(options,
		testcontainers.WithLogger(log.NewNoopLogger()),
		testcontainers.WithLabels(labels()),
	)
	var c *testcontainers.DockerContainer
	err := Guard(ctx, func(ctx context.Context) (err error) {
		c, err = testcontainers.Run(ctx, image, options...)
		return err
	})
	if err != nil {
		err = fmt.Errorf("start a container of %s: %w", image, err)
		if c != nil {
			err = errors.Join(err, d.remove(context.WithoutCancel(ctx), c.GetContainerID()))
		}
		return nil, err
	}
	return c, nil
}

// version is the major version of PostgreSQL to test with.
func version() string {
	return cmp.Or(os.Getenv("SCHEDULER_TEST_PG"), versionDefault)
}

func labels() map[string]string {
	labels := map[string]string{labelOwner: self().String()}
	if keepFailed() {
		labels[labelKeep] = "1"
	}
	return labels
}

// await polls ready until it succeeds; it gives up when ctx ends or the container
// does. The error has the end of the container's log.
func (d *docker) await(ctx context.Context, c *testcontainers.DockerContainer, ready func(context.Context) error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if state, stateErr := c.State(ctx); stateErr == nil && !state.Running {
			return fmt.Errorf("the container has ended with exit code %d; the end of its log:\n%s", state.ExitCode, logTail(ctx, c))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w; the end of its log:\n%s", last, logTail(ctx, c))
		}
	}
}

// containerLog is all that the container has written.
func containerLog(ctx context.Context, c *testcontainers.DockerContainer) (string, error) {
	reader, err := c.Logs(ctx)
	if err != nil {
		return "", fmt.Errorf("read the container's log: %w", err)
	}
	defer reader.Close()
	text, err := io.ReadAll(reader)
	if err != nil {
		return "", fmt.Errorf("read the container's log: %w", err)
	}
	return string(text), nil
}

// logTail is the end of the container's log, for an error message. It works when
// ctx has ended.
func logTail(ctx context.Context, c *testcontainers.DockerContainer) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	text, err := containerLog(ctx, c)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
