package devdb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// serve starts the server on the login's port, or on another, which it writes
// into login, where that one is 0 or taken. It returns when the server takes
// connections.
func (h home) serve(
	ctx context.Context, bin binaries, to *login, logFile *os.File, deathSignal bool,
) (*server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stale, _ := os.ReadFile(h.pidFile())
	for attempt := 1; ; attempt++ {
		port, err := freePort(ctx, to.port)
		if err != nil {
			return nil, err
		}
		to.port = port
		srv, err := launch(h.postgres(ctx, bin, port, logFile), deathSignal)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", bin.program("postgres"), err)
		}
		err = srv.ready(ctx, *to)
		if err == nil {
			return srv, nil
		}
		if !errors.Is(err, errEnded) {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
			err = errors.Join(err, srv.stop(stopCtx))
			cancel()
			return nil, withLog(err, logFile.Name())
		}
		// A server that was killed leaves children behind for a moment, which
		// hold its shared memory; a new one then gives up before it replaces
		// the old pid file.
		now, _ := os.ReadFile(h.pidFile())
		orphans := len(stale) > 0 && string(now) == string(stale)
		if again, _ := freePort(ctx, port); !orphans && (again == port || attempt == 3) {
			return nil, withLog(err, logFile.Name())
		}
		select {
		case <-ctx.Done():
			return nil, withLog(errors.Join(err, ctx.Err()), logFile.Name())
		case <-time.After(pollInterval):
		}
	}
}

// postgres is the server's command line. It listens on nothing but its port of
// 127.0.0.1: no Unix socket, whose path would be too long for many a folder.
func (h home) postgres(ctx context.Context, bin binaries, port int, logFile *os.File) *exec.Cmd {
	args := []string{"-D", h.data()}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=",
		"shared_buffers=64MB",
		"fsync=on",
		"logging_collector=off",
		"log_destination=stderr",
		"log_line_prefix=%m [%p] %a ",
	} {
		args = append(args, "-c", setting)
	}
	// It outlives ctx: stop ends it, the right way.
	cmd := h.account.command(context.WithoutCancel(ctx), h.path, bin.program("postgres"), args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	return cmd
}

// freePort is the wanted port if that is free, or else any that is. Between this
// and the server's own look somebody may take it: serve then tries again.
func freePort(ctx context.Context, wanted int) (int, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
	if err != nil && wanted != 0 {
		return freePort(ctx, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("find a free port on 127.0.0.1: %w", err)
	}
	addr, _ := listener.Addr().(*net.TCPAddr)
	return addr.Port, listener.Close()
}

// pollInterval is the pause between two looks at something that has no way to
// tell.
const pollInterval = 20 * time.Millisecond

// errEnded says that the server has ended by itself.
var errEnded = errors.New("the server has ended")

// server is one running postgres process.
type server struct {
	process *os.Process
	done    chan struct{} // closed when it has ended
	exit    error         // how; read after done
}

// launch starts the process and waits for it in one goroutine, bound to its
// thread: the kernel sends the death signal when the starting *thread* ends
// (https://go.dev/issue/27505), so this one must live as long as the program.
func launch(cmd *exec.Cmd, deathSignal bool) (*server, error) {
	srv := &server{done: make(chan struct{})}
	if deathSignal {
		signalAtParentDeath(cmd.SysProcAttr, syscall.SIGINT) // fast shutdown
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		srv.process = cmd.Process
		started <- err
		if err == nil {
			srv.exit = cmd.Wait()
			close(srv.done)
		}
	}()
	return srv, <-started
}

// ready waits until the server takes connections with the login. errEnded says
// that it ended instead.
func (srv *server) ready(ctx context.Context, to login) error {
	for {
		conn, err := to.connect(ctx, "postgres")
		if err == nil {
			return conn.Close(ctx)
		}
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && strings.HasPrefix(refusal.Code, "28") { // invalid authorization
			return fmt.Errorf("the password in the file %s is not this database's: %w", urlName, err)
		}
		select {
		case <-srv.done:
			return fmt.Errorf("%w at its start: %w", errEnded, srv.ended())
		case <-ctx.Done():
			return fmt.Errorf("the server does not take connections: %w", errors.Join(ctx.Err(), err))
		case <-time.After(pollInterval):
		}
	}
}

func (srv *server) ended() error {
	if srv.exit != nil {
		return srv.exit
	}
	return errors.New("exit status 0")
}

// stop ends the process: with a checkpoint until ctx ends, then without one, and
// at last by force. It returns after the process has ended.
func (srv *server) stop(ctx context.Context) error {
	select {
	case <-srv.done:
		return fmt.Errorf("%w before: %w", errEnded, srv.ended())
	default:
	}
	quit, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for _, step := range []struct {
		signal syscall.Signal
		until  <-chan struct{}
	}{
		{syscall.SIGINT, ctx.Done()},
		{syscall.SIGQUIT, quit.Done()},
		{syscall.SIGKILL, nil},
	} {
		if err := srv.process.Signal(step.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end process %d: %w", srv.process.Pid, err)
		}
		select {
		case <-srv.done:
			return srv.exit
		case <-step.until:
		}
	}
	<-srv.done
	return srv.exit
}
