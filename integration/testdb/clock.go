package testdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const (
	// clockFile has the offset that the processes of the server add to the real
	// time, in seconds.
	clockFile = "/tmp/clock"
	// clockLibrary is where the image has libfaketime.
	clockLibrary = "/usr/local/lib/libfaketime.so.1"
	// clockTolerance is by how much the server's clock may miss the offset, beside
	// the time that it takes to ask.
	clockTolerance = 100 * time.Millisecond
)

// clockScript replaces the file at once: a process never reads half of it.
const clockScript = `printf '%s\n' "$1" >"$2.new" && mv "$2.new" "$2"`

// SetClock sets the clock of a server that was started with [Options.Clock]: to
// the real time and an offset, which may be negative. It returns when a new
// connection sees the new clock; so does every open one from then on. The clock
// survives Stop, Kill and Start.
//
// Only the clock that tells the time of day is set. Whatever measures with the
// monotonic one, such as EXPLAIN ANALYZE, goes on undisturbed, as when somebody
// sets a machine's clock. Postgres' own timeouts go by the time of day. One that
// is being waited for at that moment expires as much later as the clock is set
// back; if it is set forward, the timeout may expire at once, and does so at the
// latest when another timeout of the session does. Those that begin later are
// right. So it is on a machine whose clock is set, too.
func (s *Server) SetClock(t testing.TB, offset time.Duration) {
	t.Helper()
	if !s.clock {
		t.Fatalf("testdb: set the server's clock: start the server with Options.Clock")
	}
	s.do(t, "set the clock of", func(ctx context.Context, _ string) error {
		// The docker daemon may be on a machine whose own clock is not this one's.
		ahead, askingFirst, err := s.clockAhead(ctx)
		if err != nil {
			return err
		}
		if err := s.writeClock(ctx, offset); err != nil {
			return err
		}
		want := ahead + offset - s.clockOffset
		s.clockOffset = offset
		return s.docker.await(ctx, s.container, func(ctx context.Context) error {
			ahead, asking, err := s.clockAhead(ctx)
			if err != nil {
				return err
			}
			if off := (ahead - want).Abs(); off > askingFirst+asking+clockTolerance {
				return fmt.Errorf("the server's clock is still off by %v (if %s has no libfaketime in it, run `make image`)", off, s.image)
			}
			return nil
		})
	})
}

// clockAhead is by how much the server's clock is ahead of this machine's, and
// how long it took to ask.
func (s *Server) clockAhead(ctx context.Context) (ahead, asking time.Duration, err error) {
	err = s.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		begin := time.Now()
		var clock time.Time
		if err := conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&clock); err != nil {
			return fmt.Errorf("ask for the clock: %w", err)
		}
		ahead, asking = clock.Sub(begin), time.Since(begin)
		return nil
	})
	return ahead, asking, err
}

func (s *Server) writeClock(ctx context.Context, offset time.Duration) error {
	created, err := s.docker.ExecCreate(ctx, s.container.GetContainerID(), client.ExecCreateOptions{
		User:         "root",
		Env:          []string{"LD_PRELOAD="},
		Cmd:          []string{"sh", "-c", clockScript, "sh", clockText(offset), clockFile},
		TTY:          true, // the output as it is, not in docker's frames
		AttachStdout: true,
		AttachStderr: true,
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", clockFile, err)
	}
	attached, err := s.docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		return fmt.Errorf("write %s: %w", clockFile, err)
	}
	defer attached.Close()
	defer context.AfterFunc(ctx, attached.Close)()
	complaint, err := io.ReadAll(attached.Reader)
	if err == nil && len(complaint) > 0 {
		err = errors.New(strings.TrimSpace(string(complaint)))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", clockFile, err)
	}
	return nil
}

// clockText is an offset as libfaketime reads it.
func clockText(offset time.Duration) string {
	return fmt.Sprintf("%+.3f", offset.Seconds())
}

// ClockEnv is the environment in which processes of the test image go by a clock
// that a file sets: by as many seconds as it says, such as "+3600.000".
func ClockEnv(file string) map[string]string {
	return map[string]string{
		"LD_PRELOAD":                   clockLibrary,
		"FAKETIME_TIMESTAMP_FILE":      file,
		"FAKETIME_NO_CACHE":            "1", // otherwise a process looks every 10 s
		"FAKETIME_DONT_FAKE_MONOTONIC": "1",
		"NO_FAKE_STAT":                 "1", // the times of files
	}
}

// clockCustomizers make the processes of a container go by clockFile.
func clockCustomizers() []testcontainers.ContainerCustomizer {
	return []testcontainers.ContainerCustomizer{
		testcontainers.WithEnv(ClockEnv(clockFile)),
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader:            strings.NewReader(clockText(0) + "\n"),
			ContainerFilePath: clockFile,
			FileMode:          0o644,
		}),
		// libfaketime's shared memory is that of the user who starts first: no
		// change of the user on the way.
		testcontainers.WithConfigModifier(func(c *container.Config) { c.User = superuser }),
	}
}
