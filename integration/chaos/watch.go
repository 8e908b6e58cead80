package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// watchInterval is between two looks at the locks.
	watchInterval = 4 * time.Millisecond
	// epochEvery so many looks the number of the term is read, too.
	epochEvery = 25
)

// lockHolders are the sessions that hold the leader's lock in this database.
const lockHolders = `
SELECT l.pid, coalesce((SELECT a.application_name FROM pg_stat_activity a WHERE a.pid = l.pid), 'a session that has just ended') AS name
FROM pg_locks l
WHERE l.locktype = 'advisory' AND l.classid = 7235001 AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// watch looks at the leader's lock all the time, on the server that is primary at
// that moment.
type watch struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	looks      int64
	most       int // holders at once
	violations []violation
}

func startWatch(ctx context.Context, url func() string) *watch {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{cancel: cancel}
	w.wg.Go(func() {
		for ctx.Err() == nil {
			target := url()
			settings := map[string]string{"application_name": "chaos watch", "idle_session_timeout": "0", "lock_timeout": "50ms"}
			err := once(ctx, target, settings, func(conn *pgx.Conn) error {
				return w.look(ctx, conn, func() bool { return url() == target })
			})
			if err != nil && pause(ctx, 50*time.Millisecond) != nil {
				return
			}
		}
	})
	return w
}

func (w *watch) stop() {
	w.cancel()
	w.wg.Wait()
}

// look looks until the connection breaks, or leads to a server that is primary no
// more. What it has seen of the terms holds for this server only: one that takes
// over may not have the newest.
func (w *watch) look(ctx context.Context, conn *pgx.Conn, primary func() bool) error {
	var epoch int64
	for n := 0; ctx.Err() == nil && primary(); n++ {
		if err := w.holders(ctx, conn); err != nil {
			return err
		}
		if n%epochEvery == 0 {
			now, err := w.epoch(ctx, conn)
			if err != nil {
				return err
			}
			if now != 0 && now < epoch {
				w.violated(violation{Kind: "epoch_fell", Key: fmt.Sprint(now), N: 1, Detail: fmt.Sprintf("leadership.epoch fell from %d to %d", epoch, now)})
			}
			epoch = max(epoch, now)
		}
		if err := pause(ctx, watchInterval); err != nil {
			return err
		}
	}
	return nil
}

func (w *watch) holders(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := conn.Query(ctx, lockHolders)
	if err != nil {
		return err
	}
	type holder struct {
		PID  int
		Name string
	}
	holders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[holder])
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.looks++
	w.most = max(w.most, len(holders))
	w.mu.Unlock()
	if len(holders) > 1 {
		w.violated(violation{Kind: "two_leaders", Key: fmt.Sprint(holders), N: 1, Detail: fmt.Sprintf("%d sessions hold the leader's lock: %v", len(holders), holders)})
	}
	return nil
}

// epoch reads the number of the term; 0 if a fault has locked the table.
func (w *watch) epoch(ctx context.Context, conn *pgx.Conn) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	epoch, err := ask[int64](ctx, conn, "SELECT epoch FROM scheduler.leadership")
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" {
		return 0, nil
	}
	return epoch, err
}

func (w *watch) violated(v violation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.violations = append(w.violations, v)
}

// take is what went wrong since the last call.
func (w *watch) take() []violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.violations
	w.violations = nil
	return taken
}

// seen is how often it looked, and the most holders that it saw at once.
func (w *watch) seen() (looks int64, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks, w.most
}
