package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// jobLockWait is how long a connection of a job waits for the one before to go: a
	// server needs a second to notice that nobody is behind it any more.
	jobLockWait     = 5 * time.Second
	jobLockInterval = 100 * time.Millisecond
)

// besideConns are the connections that a job has opened.
type besideConns struct {
	mu   sync.Mutex
	list []*pgx.Conn
	// over says why there are no more; nil while there may be.
	over error
}

// add notes a connection, or closes it if the attempt is over.
func (c *besideConns) add(ctx context.Context, conn *pgx.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil {
		_ = conn.Close(ctx) // nothing was done on it
		return c.over
	}
	c.list = append(c.list, conn)
	return nil
}

// cut closes the sockets under a job that does not return. The server then ends the
// sessions, and with them the job's lock.
func (c *besideConns) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = errAbandoned
	for _, conn := range c.list {
		_ = conn.PgConn().Conn().Close() // whoever uses it gets the error
	}
}

// besideConnector opens them.
type besideConnector struct{ attempt *attempt }

// Connect opens a connection that holds the job's lock.
func (b besideConnector) Connect(ctx context.Context) (*pgx.Conn, error) {
	a := b.attempt
	conn, err := a.config.ConnectFunc(ctx)
	if err != nil {
		return nil, ours(fmt.Errorf("open a connection of the run's own: %w", err))
	}
	if err := a.conns.add(ctx, conn); err != nil {
		return nil, err
	}
	if err := b.lock(ctx, conn); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // nothing was done on it
		return nil, err
	}
	return conn, nil
}

// lock takes the job's lock.
func (b besideConnector) lock(ctx context.Context, conn *pgx.Conn) error {
	a := b.attempt
	deadline, cancel := context.WithTimeout(ctx, jobLockWait)
	defer cancel()
	ticker := time.NewTicker(jobLockInterval)
	defer ticker.Stop()
	for {
		taken, err := a.config.Statements.TakeJobLock(ctx, conn, a.riverJob.Kind)
		if err != nil {
			return ours(err)
		}
		if taken {
			return nil
		}
		select {
		case <-ticker.C:
		case <-deadline.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("another session is still at this job: it holds the advisory lock (7235006, hash of %q); wait for it, or end it with pg_terminate_backend",
				a.config.Statements.Schema()+"."+a.riverJob.Kind)
		}
	}
}

// closeConns closes what the job has left open, and with it the job's lock.
func (a *attempt) closeConns(ctx context.Context) {
	a.conns.mu.Lock()
	defer a.conns.mu.Unlock()
	if a.conns.over == nil {
		a.conns.over = errReturned
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, conn := range a.conns.list {
		if conn.IsClosed() {
			continue
		}
		a.logger.DebugContext(ctx, "a connection of the run's own was open at the end of the attempt; it is closed", slog.Int("pid", int(conn.PgConn().PID())))
		_ = conn.Close(ctx) // the socket is closed in any case
	}
}
