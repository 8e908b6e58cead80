package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler/sql"
)

type (
	// History is the newest runs of a job, oldest first; see [sql.HistoryRow].
	History = sql.HistoryRow
	// DayRows is how many rows a job has changed in a day of UTC; see [sql.DayRow].
	DayRows = sql.DayRow
	// Incident is runs of a job that ended alike, and not as they should; see [sql.IncidentRow].
	Incident = sql.IncidentRow
)

// History reads the newest n runs of each job that has any, or of the named one.
func (c *Client) History(ctx context.Context, jobName string, n int) ([]History, error) {
	list, err := c.statements.ListHistory(ctx, c.pool, jobName, n)
	return list, c.translate(err)
}

// RowsByDay reads how many rows each job, or the named one, has changed a day since a
// time, thirty days ago at most. Dry runs do not count; days without any are left out.
func (c *Client) RowsByDay(ctx context.Context, jobName string, since time.Time) ([]DayRows, error) {
	list, err := c.statements.RowsByDay(ctx, c.pool, jobName, since)
	return list, c.translate(err)
}

// Incidents lists what was skipped, missed, failed, blocked or cancelled since a time,
// the latest first; an empty name means all jobs. A limit of zero or less means 50.
func (c *Client) Incidents(ctx context.Context, jobName string, since time.Time, limit int) ([]Incident, error) {
	if limit <= 0 {
		limit = listLimitDefault
	}
	list, err := c.statements.ListIncidents(ctx, c.pool, jobName, since, limit)
	return list, c.translate(err)
}

// Working lists the runs that were handed out and have not ended, newest first. A
// limit of zero or less means 50.
func (c *Client) Working(ctx context.Context, limit int) ([]Run, error) {
	if limit <= 0 {
		limit = listLimitDefault
	}
	list, err := c.statements.ListWorking(ctx, c.pool, limit)
	return list, c.translate(err)
}

// OverdueDefault is how late a tick may be decided before the scheduler counts as not
// ready: more than a leader needs that takes over from one that was cut off (5 s).
const OverdueDefault = 15 * time.Second

// The errors of [Client.Ready].
var (
	// ErrNoLeader: no replica leads.
	ErrNoLeader = errors.New("no replica leads")

	// ErrOverdue: a replica leads, and does not decide what is due.
	ErrOverdue = errors.New("ticks are overdue")
)

// Ready says whether schedules are kept: the database can be reached, the schema is one
// that this version works with, a replica leads, and no tick is overdue by more than
// [OverdueDefault]. The errors: [ErrSchema], [ErrNoLeader], [ErrOverdue], or that of the
// connection.
func (c *Client) Ready(ctx context.Context) error {
	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := checkSchema(ctx, conn.Conn(), c.statements); err != nil {
		return err
	}
	state, err := c.statements.Readiness(ctx, conn)
	if err != nil {
		return c.translate(err)
	}
	if state.Leader == nil {
		return fmt.Errorf("%w: start one with: scheduler serve", ErrNoLeader)
	}
	if overdue := time.Duration(state.Overdue * float64(time.Second)); overdue > OverdueDefault {
		return fmt.Errorf("%w by %v, although %s leads", ErrOverdue, overdue.Round(time.Second), *state.Leader)
	}
	return nil
}
