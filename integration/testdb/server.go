package testdb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

const (
	// startTimeout bounds the start of a server. Unhurried machines need 3 s,
	// overloaded ones ten times that.
	startTimeout = 2 * time.Minute

	superuser       = "postgres"
	password        = "postgres"
	maintenance     = "postgres" // the database to create others from
	postgresPort    = "5432/tcp"
	dataDirectory   = "/var/lib/postgresql/data"
	replicationFile = "/docker-entrypoint-initdb.d/10-replication.sh"
)

// A Server is PostgreSQL in a container. Its methods may be called from several
// goroutines, but Stop, Kill, Start, Pause, Unpause and SetClock only by the test
// that started it with [Start] or [Standby].
type Server struct {
	docker    *docker
	container *testcontainers.DockerContainer
	image     string
	network   string // empty: docker's default one
	address   string // host:port on this machine
	ephemeral bool   // the shared server, which nobody may end

	clock       bool          // SetClock may be called
	clockOffset time.Duration // what it was called with last

	gate chan struct{} // bounds how many databases are created or dropped at once

	mu        sync.Mutex
	templates map[string]func() error
}

// Options describe a server for [Start].
type Options struct {
	// Args are further arguments of the server, such as "-c",
	// "wal_level=logical". They come last, and so override the package's own.
	Args []string
	// Clock lets [Server.SetClock] set the server's clock. Asking for the time then
	// takes 50 µs, a thousand times as long as without: nothing to measure with.
	Clock bool
}

// Start starts a server that belongs to the test alone. Unlike the shared one it
// keeps its data on disk and loses no commit when killed. It is removed when the
// test ends; its address does not change until then, whatever is done to it.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s, err := start(t, launchRequest{args: options.Args, clock: options.Clock})
	if err != nil {
		t.Fatalf("testdb: start a server: %v", err)
	}
	return s
}

func start(t testing.TB, request launchRequest) (*Server, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s, err := launch(ctx, request)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if t.Failed() && keepFailed() {
			t.Logf("testdb: this test's server is kept: %s", s.URL(maintenance))
			return
		}
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("testdb: %v", err)
		}
	})
	return s, nil
}

// Run starts a server as [Start] does, outside a test: for a program that
// measures, say. It is the caller's to Close.
func Run(ctx context.Context, options Options) (*Server, error) {
	return launch(ctx, launchRequest{args: options.Args, clock: options.Clock})
}

// Close removes the server with all its data. A second call does nothing. The
// context bounds the removal, by a minute at most.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	defer s.docker.Close()
	if err := s.docker.remove(ctx, s.container.GetContainerID()); err != nil {
		return fmt.Errorf("remove the server's container: %w", err)
	}
	return nil
}

// URL is how to connect to a database of this server as its superuser.
func (s *Server) URL(database string) string {
	return databaseURL(s.address, database)
}

// DirectURL is the same past docker's proxy, which every round trip pays for, where
// this machine reaches the container itself; else it is as URL. To measure with.
func (s *Server) DirectURL(ctx context.Context, database string) string {
	if ip, err := s.container.ContainerIP(ctx); err == nil {
		direct := databaseURL(net.JoinHostPort(ip, strings.TrimSuffix(postgresPort, "/tcp")), database)
		if ping(ctx, direct) == nil {
			return direct
		}
	}
	return s.URL(database)
}

// Log is all that the server has written to its log. Each line has the name of
// the database and of the application that it is about; [DB.Log] sorts by that.
func (s *Server) Log(ctx context.Context) (string, error) {
	return containerLog(ctx, s.container)
}

// ServerLog is the log of the server that New puts databases on.
func ServerLog(ctx context.Context) (string, error) {
	s, err := sharedServer()
	if err != nil {
		return "", err
	}
	return s.Log(ctx)
}

// Stop shuts the server down as an administrator would: sessions are ended, and
// everything is written to disk. It returns when the server is down.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.do(t, "stop", func(ctx context.Context, id string) error {
		_, err := s.docker.ContainerStop(ctx, id, client.ContainerStopOptions{})
		return err
	})
}

// Kill ends the server with SIGKILL, as a crash would. It returns when the server
// is down.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.do(t, "kill", func(ctx context.Context, id string) error {
		wait := s.docker.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		if _, err := s.docker.ContainerKill(ctx, id, client.ContainerKillOptions{}); err != nil {
			return err
		}
		select {
		case <-wait.Result:
			return nil
		case err := <-wait.Error:
			return err
		}
	})
}

// Start starts the server again after Stop or Kill, at the same address. It
// returns when the server takes connections.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.do(t, "start", func(ctx context.Context, id string) error {
		if _, err := s.docker.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
			return err
		}
		return s.awaitReady(ctx)
	})
}

// Pause freezes the server: connections stay, and nothing is answered.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	s.do(t, "pause", func(ctx context.Context, id string) error {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			_, err := s.docker.ContainerPause(ctx, id, client.ContainerPauseOptions{})
			if !errdefs.IsInternal(err) {
				return err
			}
			// On a busy machine the kernel may not freeze every process in the time
			// that docker's runtime gives it ("unable to freeze").
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return err
			}
		}
	})
}

// Unpause lets the server go on after Pause.
func (s *Server) Unpause(t testing.TB) {
	t.Helper()
	s.do(t, "unpause", func(ctx context.Context, id string) error {
		_, err := s.docker.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

func (s *Server) do(t testing.TB, what string, f func(ctx context.Context, id string) error) {
	t.Helper()
	if s.ephemeral {
		t.Fatalf("testdb: %s the server: it is shared and its data is in memory; use one of testdb.Start", what)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	defer s.docker.Close()
	if err := f(ctx, s.container.GetContainerID()); err != nil {
		t.Fatalf("testdb: %s the server: %v", what, err)
	}
}

// A launchRequest says which server to start. The zero value is that of Start.
type launchRequest struct {
	args      []string
	clock     bool   // the clock can be set
	ephemeral bool   // data in memory, commits not waited for, port chosen by docker
	network   string // a network to join; empty for docker's default one
	alias     string // the server's name there
	standbyOf string // the name of a primary there, to copy and follow
}

// launch starts a server and returns when it takes connections. The context ends
// the start only.
func launch(ctx context.Context, r launchRequest) (*Server, error) {
	d, err := connect()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	image, err := d.image(ctx, version(), os.Getenv)
	if err != nil {
		return nil, err
	}

	s := &Server{
		docker:    d,
		image:     image,
		network:   r.network,
		ephemeral: r.ephemeral,
		clock:     r.clock,
		gate:      make(chan struct{}, 2),
		templates: map[string]func() error{},
	}
	// A port that is free now may be taken a moment later, which docker calls an
	// internal error: then try another.
	for range 3 {
		if s.container, err = d.run(ctx, image, r.customizers(d)...); !errdefs.IsInternal(err) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if s.address, err = hostAddress(ctx, s.container, postgresPort); err == nil {
		err = s.awaitReady(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start PostgreSQL (%s): %w", image, err), s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (r launchRequest) customizers(d *docker) []testcontainers.ContainerCustomizer {
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithEnv(map[string]string{
			"POSTGRES_USER":     superuser,
			"POSTGRES_PASSWORD": password,
			"POSTGRES_DB":       maintenance,
			"PGDATA":            dataDirectory,
		}),
		testcontainers.WithExposedPorts(postgresPort),
	}
	port := 0
	switch {
	case r.ephemeral:
		options = append(options,
			testcontainers.WithTmpfs(map[string]string{dataDirectory: "rw,mode=1777"}),
			testcontainers.WithCmd(r.command()...))
	case r.standbyOf != "":
		port = FreePort()
		options = append(options,
			testcontainers.WithEnv(map[string]string{"PGPASSWORD": password}),
			testcontainers.WithConfigModifier(func(c *container.Config) { c.User = superuser }),
			testcontainers.WithEntrypoint("bash", "-ec", standbyScript, "standby", r.standbyOf),
			testcontainers.WithCmd(r.command()...))
	default:
		port = FreePort()
		options = append(options,
			testcontainers.WithFiles(testcontainers.ContainerFile{
				// The entrypoint's rule for everybody does not hold for replication.
				Reader:            strings.NewReader(`echo 'host replication postgres all scram-sha-256' >>"$PGDATA/pg_hba.conf"` + "\n"),
				ContainerFilePath: replicationFile,
				FileMode:          0o644,
			}),
			testcontainers.WithCmd(r.command()...))
	}
	options = append(options, testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
		c.PortBindings = d.publish(postgresPort, port)
		c.ShmSize = 256 << 20 // parallel queries; docker gives 64 MB
	}))
	if r.clock {
		options = append(options, clockCustomizers()...)
	}
	if r.network != "" {
		options = append(options, tcnetwork.WithNetworkName([]string{r.alias}, r.network))
	}
	return options
}

// command is the server's command line.
func (r launchRequest) command() []string {
	settings := []string{
		"fsync=off", // what is left is safe as long as the machine stays up
		"full_page_writes=off",
		"max_connections=300",
		"shared_buffers=256MB",
		"log_lock_waits=on",
		"log_line_prefix=%m [%p] %q%d/%a ", // see DB.Log
	}
	if r.ephemeral {
		settings = append(settings, "synchronous_commit=off")
	}
	command := []string{"postgres"}
	for _, setting := range settings {
		command = append(command, "-c", setting)
	}
	return append(command, r.args...)
}

// publish maps a port of the container to one of this machine: on the loopback
// if docker is here. Port 0 lets docker choose.
func (d *docker) publish(containerPort string, port int) network.PortMap {
	binding := network.PortBinding{HostPort: strconv.Itoa(port)}
	if d.local {
		binding.HostIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return network.PortMap{network.MustParsePort(containerPort): {binding}}
}

// FreePort picks a port that is free now, and below those that the system gives to
// outgoing connections. Otherwise one of them might take it while the server is
// down.
func FreePort() int {
	port := 0
	for range 20 {
		port = 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			listener.Close()
			break
		}
	}
	return port
}

func (s *Server) awaitReady(ctx context.Context) error {
	return s.docker.await(ctx, s.container, func(ctx context.Context) error {
		return ping(ctx, s.URL(maintenance))
	})
}

// ping connects and asks something.
func ping(ctx context.Context, databaseURL string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	return errors.Join(conn.Ping(ctx), conn.Close(ctx))
}

// hostAddress is where on this machine a port of the container is.
func hostAddress(ctx context.Context, c *testcontainers.DockerContainer, port string) (string, error) {
	host, err := c.Host(ctx)
	if err != nil {
		return "", fmt.Errorf("find the container's host: %w", err)
	}
	mapped, err := c.MappedPort(ctx, port)
	if err != nil {
		return "", fmt.Errorf("find the container's port: %w", err)
	}
	return net.JoinHostPort(host, mapped.Port()), nil
}

func databaseURL(address, database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     address,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}
