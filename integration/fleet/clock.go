package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// clockPath has the offset by which the servers' clock is wrong.
	clockPath = sharedFolder + "/clock"
	// clockTolerance is by how much the clock may miss the offset, beside the time
	// that it takes to ask.
	clockTolerance = 200 * time.Millisecond
)

// SetClock sets the clock of all servers, also of those that are started later: to
// the real time and an offset, which may be negative. It returns when every server
// that runs shows it, in open sessions too. See testdb's SetClock about timeouts.
func (f *Fleet) SetClock(ctx context.Context, offset time.Duration) error {
	defer f.engine.Close()
	if !f.options.Clock {
		return errors.New("fleet: set the clock: make the fleet with Options.Clock")
	}
	if err := f.writeClock(ctx, offset); err != nil {
		return fmt.Errorf("fleet: set the clock: %w", err)
	}
	for _, s := range f.servers {
		if s.Down() {
			continue
		}
		err := s.process().until(ctx, "has the new clock", func(ctx context.Context) error {
			ahead, asking, err := s.clockAhead(ctx)
			if err != nil {
				return err
			}
			if off := (ahead - f.clockBase - offset).Abs(); off > asking+clockTolerance {
				return fmt.Errorf("the clock is still off by %v (if image %s has no libfaketime, run `make image`)", off, f.engine.Image)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fleet: set the clock: %w", err)
		}
	}
	return nil
}

// writeClock replaces the file at once: a process never reads half of it.
func (f *Fleet) writeClock(ctx context.Context, offset time.Duration) error {
	_, err := f.servers[0].host.exec(ctx, `printf '%s\n' "$1" >"$2.new" && mv "$2.new" "$2"`,
		fmt.Sprintf("%+.3f", offset.Seconds()), clockPath)
	return err
}

// measureClock remembers the difference between this machine's clock and that of the
// machine that docker is on.
func (f *Fleet) measureClock(ctx context.Context) (err error) {
	f.clockBase, _, err = f.primary.clockAhead(ctx)
	return err
}

// clockAhead is by how much the server's clock is ahead of this machine's, and how
// long it took to ask.
func (s *Server) clockAhead(ctx context.Context) (ahead, asking time.Duration, err error) {
	err = s.connect(ctx, maintenance, func(conn *pgx.Conn) error {
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
