package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	superuser         = "postgres"
	superuserPassword = "postgres"
	appUser           = "app"
	appPassword       = "app"
	database          = "app"
	maintenance       = "postgres"

	postgresPort  = 5432
	postgresProto = "5432/tcp"

	// diskFolder is where a server's processes have its disk. The image has a folder
	// there; the data are one below, beside what fills the disk.
	diskFolder = "/var/lib/postgresql/data"
	dataFolder = diskFolder + "/server"

	// actTimeout bounds what is done to a server.
	actTimeout = 2 * time.Minute
)

// serverScript runs a server, and makes its data first if there are none.
const serverScript = `
mkdir -p -m 700 "$PGDATA"
exec docker-entrypoint.sh "$@"
`

// standbyScript runs a server that follows the one whose address is the first
// argument. What was set there with ALTER SYSTEM holds here too, except that a
// commit waits for a standby: once promoted, this server has none.
const standbyScript = `
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	mkdir -p -m 700 "$PGDATA"
	pg_basebackup --host="$1" --username=postgres --pgdata="$PGDATA" --checkpoint=fast --wal-method=stream --write-recovery-conf
	sed -i /synchronous_standby_names/d "$PGDATA/postgresql.auto.conf"
fi
shift
exec "$@"
`

// replicationScript lets a standby connect: the image's rule for everybody does not
// hold for replication.
const replicationScript = `echo 'host replication postgres all scram-sha-256' >>"$PGDATA/pg_hba.conf"` + "\n"

// Server is a Postgres server: a machine, which stays up, and a postmaster.
type Server struct {
	fleet   *Fleet
	name    string
	host    *box       // has the network and the disk
	ip      netip.Addr // on the fleet's network
	address string     // host:port for this machine
	volume  string     // the disk

	current atomic.Pointer[box] // the postmaster; another one after Rebuild
	oldLog  string              // of the postmasters before; the fleet's mu guards it
	filled  bool                // FillDisk was called, and FreeDisk not yet
}

func (s *Server) process() *box { return s.current.Load() }

// openServers starts the servers.
func (f *Fleet) openServers(ctx context.Context) error {
	names := []string{"one", "two"}
	if f.options.NoStandby {
		names = names[:1]
	}
	servers := make([]*Server, len(names))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, name := range names {
		group.Go(func() (err error) {
			servers[i], err = f.newHost(groupCtx, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	f.mu.Lock()
	f.servers, f.primary = servers, servers[0]
	f.mu.Unlock()
	if err := f.writeClock(ctx, 0); err != nil {
		return err
	}
	if err := f.primary.runPrimary(ctx); err != nil {
		return err
	}
	if len(servers) > 1 {
		if err := servers[1].runStandby(ctx, servers[0]); err != nil {
			return err
		}
		f.mu.Lock()
		f.standby = servers[1]
		f.mu.Unlock()
	}
	return f.measureClock(ctx)
}

// newHost starts the machine of a server.
func (f *Fleet) newHost(ctx context.Context, name string) (*Server, error) {
	s := &Server{fleet: f, name: name}
	var err error
	s.volume, err = f.volume(ctx, name, map[string]string{
		"type": "tmpfs", "device": "tmpfs", "o": fmt.Sprintf("size=%d,mode=1777", f.options.DiskSize),
	})
	if err != nil {
		return nil, err
	}
	// A port that is free now may be taken a moment later, which docker calls an
	// internal error: then try another.
	for range 3 {
		port := testdb.FreePort()
		s.address = net.JoinHostPort(f.engine.Host, strconv.Itoa(port))
		s.host, err = f.create(ctx, "host-"+name, &container.Config{
			Entrypoint:   []string{"sleep", "infinity"},
			ExposedPorts: network.PortSet{network.MustParsePort(postgresProto): {}},
		}, &container.HostConfig{
			NetworkMode:  container.NetworkMode(f.network),
			PortBindings: f.engine.Publish(postgresProto, port),
			CapAdd:       []string{"NET_ADMIN"},
			Mounts:       []mount.Mount{f.mountShared(false), s.mountDisk()},
		})
		if err != nil {
			return nil, err
		}
		if err = s.host.start(ctx); !errdefs.IsInternal(err) {
			break
		}
		err = errors.Join(err, f.remove(ctx, s.host))
	}
	if err != nil {
		return nil, err
	}
	s.ip, err = f.addressOf(ctx, s.host)
	return s, err
}

// addressOf is the address of a container that runs.
func (f *Fleet) addressOf(ctx context.Context, b *box) (netip.Addr, error) {
	inspected, err := f.engine.ContainerInspect(ctx, b.id, client.ContainerInspectOptions{})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the address of %s: %w", b.name, err)
	}
	for _, endpoint := range inspected.Container.NetworkSettings.Networks {
		if endpoint.IPAddress.IsValid() {
			return endpoint.IPAddress, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("find the address of %s: it has none, so it has ended: %s", b.name, b.logTail(ctx))
}

// noDisk is in the place of a disk, where the image would have docker make one.
func noDisk() map[string]string { return map[string]string{diskFolder: "size=4k"} }

func (f *Fleet) mountShared(readOnly bool) mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Source: f.shared, Target: sharedFolder, ReadOnly: readOnly}
}

func (s *Server) mountDisk() mount.Mount {
	return mount.Mount{Type: mount.TypeVolume, Source: s.volume, Target: diskFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}
}

// runPrimary makes the server's data, with the database, and starts it.
func (s *Server) runPrimary(ctx context.Context) error {
	if err := s.newProcess(ctx, serverScript); err != nil {
		return err
	}
	if err := s.process().put(ctx, "/docker-entrypoint-initdb.d", "10-replication.sh", 0o644, []byte(replicationScript)); err != nil {
		return err
	}
	if err := s.startProcess(ctx); err != nil {
		return err
	}
	for _, statement := range []string{
		"CREATE ROLE " + appUser + " LOGIN PASSWORD '" + appPassword + "'",
		"CREATE DATABASE " + database + " OWNER " + appUser,
	} {
		if err := s.exec(ctx, maintenance, statement); err != nil {
			return err
		}
	}
	return nil
}

// runStandby copies a primary and starts the server as its standby.
func (s *Server) runStandby(ctx context.Context, primary *Server) error {
	if err := s.newProcess(ctx, standbyScript, primary.ip.String()); err != nil {
		return err
	}
	return s.startProcess(ctx)
}

// newProcess makes the container of the postmaster. It is on the host's network and
// disk.
func (s *Server) newProcess(ctx context.Context, script string, args ...string) error {
	env := map[string]string{
		"POSTGRES_USER": superuser, "POSTGRES_PASSWORD": superuserPassword, "POSTGRES_DB": maintenance,
		"PGDATA": dataFolder, "PGPASSWORD": superuserPassword,
	}
	if s.fleet.options.Clock {
		maps.Copy(env, testdb.ClockEnv(clockPath))
	}
	config := &container.Config{
		User:       superuser, // the name of the operating system's user, too
		Entrypoint: append([]string{"bash", "-ec", script, "bash"}, args...),
		Cmd:        s.command(),
	}
	for name, value := range env {
		config.Env = append(config.Env, name+"="+value)
	}
	b, err := s.fleet.create(ctx, "server-"+s.name, config, &container.HostConfig{
		NetworkMode: container.NetworkMode("container:" + s.host.id),
		Mounts:      []mount.Mount{s.fleet.mountShared(true), s.mountDisk()},
		ShmSize:     256 << 20, // parallel queries; docker gives 64 MB
	})
	if err == nil {
		s.current.Store(b)
	}
	return err
}

// command is the server's command line. Everything that makes a crash harmless is as
// it comes.
func (s *Server) command() []string {
	megabytes := s.fleet.options.DiskSize >> 20
	command := []string{"postgres"}
	for _, setting := range []string{
		"max_connections=200",
		"log_lock_waits=on",
		"log_line_prefix=%m [%p] %q%u@%d/%a ",
		// A standby that was away for a while finds what it missed.
		fmt.Sprintf("wal_keep_size=%dMB", megabytes/8),
		fmt.Sprintf("max_wal_size=%dMB", max(megabytes/4, 64)),
		"cluster_name=" + s.name, // the standby's application_name
	} {
		command = append(command, "-c", setting)
	}
	return append(command, s.fleet.options.Args...)
}

// startProcess starts the postmaster and waits until it takes connections.
func (s *Server) startProcess(ctx context.Context) error {
	if err := s.process().start(ctx); err != nil {
		return err
	}
	return s.process().until(ctx, "takes connections", s.ping)
}

func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return s.exec(ctx, maintenance, "SELECT 1")
}

// exec runs a statement as the superuser.
func (s *Server) exec(ctx context.Context, database, statement string) error {
	return s.connect(ctx, database, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func (s *Server) connect(ctx context.Context, database string, use func(conn *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.url(superuser, superuserPassword, database))
	if err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	if err := errors.Join(use(conn), conn.Close(ctx)); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	return nil
}

func (s *Server) url(user, password, database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     s.address,
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// act bounds and names what is done to the server.
func (s *Server) act(ctx context.Context, what string, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	defer s.fleet.engine.Close()
	if err := do(ctx); err != nil {
		return fmt.Errorf("fleet: %s server %s: %w", what, s.name, err)
	}
	return nil
}

// StopFast shuts the server down as an administrator would: sessions are ended, and
// everything is written to disk. It returns when the server is down.
func (s *Server) StopFast(ctx context.Context) error {
	return s.act(ctx, "stop", func(ctx context.Context) error { return s.process().end(ctx, syscall.SIGINT) })
}

// StopImmediate ends the server without a checkpoint: the next start recovers.
func (s *Server) StopImmediate(ctx context.Context) error {
	return s.act(ctx, "stop", func(ctx context.Context) error { return s.process().end(ctx, syscall.SIGQUIT) })
}

// Crash kills the postmaster and all its processes with SIGKILL.
func (s *Server) Crash(ctx context.Context) error {
	return s.act(ctx, "crash", func(ctx context.Context) error { return s.process().end(ctx, syscall.SIGKILL) })
}

// Start starts the server again, with its data and at its address. It returns when
// the server takes connections; it does nothing if the server runs.
func (s *Server) Start(ctx context.Context) error {
	return s.act(ctx, "start", func(ctx context.Context) error {
		if s.process().running() {
			return s.process().until(ctx, "takes connections", s.ping)
		}
		return s.startProcess(ctx)
	})
}

// Pause freezes the server: connections stay, and nothing is answered.
func (s *Server) Pause(ctx context.Context) error {
	return s.act(ctx, "pause", func(ctx context.Context) error {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			_, err := s.fleet.engine.ContainerPause(ctx, s.process().id, client.ContainerPauseOptions{})
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
func (s *Server) Unpause(ctx context.Context) error {
	return s.act(ctx, "unpause", func(ctx context.Context) error {
		_, err := s.fleet.engine.ContainerUnpause(ctx, s.process().id, client.ContainerUnpauseOptions{})
		return err
	})
}

// Down tells whether the postmaster has ended.
func (s *Server) Down() bool { return !s.process().running() }

// Log is all that the server has written to its log, since the fleet was made.
func (s *Server) Log(ctx context.Context) (string, error) {
	text, err := s.process().log(ctx)
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	return s.oldLog + text, err
}
