package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockable are our tables that something else may lock, and one of the
// application's.
var lockable = []string{"scheduler.job_runs", "scheduler.river_job", "scheduler.job_definitions", "scheduler.leadership", "items"}

func settingFaults() []fault {
	list := []fault{
		{name: "read-only-system", about: "default_transaction_read_only for the server", leads: true, inject: readOnlySystem},
		{name: "read-only-database", about: "default_transaction_read_only for the database", leads: true, inject: readOnlyDatabase},
		{name: "slots-taken", about: "all connections are taken", leads: true, inject: slotsTaken},
		{name: "connection-limit", about: "the role may hardly connect", leads: true, inject: roleSetting("CONNECTION LIMIT 2", "CONNECTION LIMIT -1")},
		{name: "statement-timeout", about: "statement_timeout is small for the role", short: true, leads: true, inject: timeoutSetting("statement_timeout", 5, 200)},
		{name: "lock-timeout", about: "lock_timeout is small for the role", leads: true, inject: timeoutSetting("lock_timeout", 1, 50)},
		{name: "idle-session-timeout", about: "idle_session_timeout is small for the role", leads: true, inject: timeoutSetting("idle_session_timeout", 50, 1000)},
	}
	for _, table := range lockable {
		list = append(list, fault{
			name: "lock-" + table, about: "an ACCESS EXCLUSIVE lock on " + table, short: table == "scheduler.river_job",
			inject: func(ctx context.Context, s *step) error {
				d := s.between(3*time.Second, 10*time.Second)
				if s.config.short {
					d = 4 * time.Second
				}
				return s.lock(ctx, table, d)
			},
		})
	}
	return list
}

// during sets something, waits and sets it back. Sessions that are open keep what
// they began with, so some are ended at the beginning, and all at the end.
func (s *step) during(ctx context.Context, set, reset string) error {
	err := s.exec(ctx, set)
	if err == nil {
		err = s.terminateSome(ctx)
	}
	s.struck(ctx)
	if err == nil {
		err = pause(ctx, s.between(3*time.Second, 10*time.Second))
	}
	return errors.Join(err, tidy(ctx, func(ctx context.Context) error {
		return errors.Join(s.exec(ctx, reset), s.exec(ctx, terminate))
	}))
}

// alterRole is for the role of the replicas.
const alterRole = "ALTER ROLE scheduler_serve "

func roleSetting(set, reset string) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		return s.during(ctx, alterRole+set, alterRole+reset)
	}
}

// timeoutSetting sets a timeout of so many milliseconds.
func timeoutSetting(name string, low, high int) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		value := low + s.number(high-low+1)
		return s.during(ctx, fmt.Sprintf(alterRole+"SET %s = '%dms'", name, value), fmt.Sprintf(alterRole+"RESET %s", name))
	}
}

func readOnlyDatabase(ctx context.Context, s *step) error {
	return s.during(ctx, "ALTER DATABASE app SET default_transaction_read_only = on", "ALTER DATABASE app RESET default_transaction_read_only")
}

// readOnlySystem holds for the sessions that are open, too.
func readOnlySystem(ctx context.Context, s *step) error {
	set := func(ctx context.Context, statement string) error {
		return errors.Join(s.exec(ctx, statement), s.exec(ctx, "SELECT pg_reload_conf()"))
	}
	err := set(ctx, "ALTER SYSTEM SET default_transaction_read_only = on")
	s.struck(ctx)
	if err == nil {
		err = pause(ctx, s.between(2*time.Second, 10*time.Second))
	}
	return errors.Join(err, tidy(ctx, func(ctx context.Context) error {
		return set(ctx, "ALTER SYSTEM RESET default_transaction_read_only")
	}))
}

// slotsTaken takes every connection that becomes free.
func slotsTaken(ctx context.Context, s *step) (err error) {
	var taken []*pgx.Conn
	defer func() {
		err = errors.Join(err, tidy(ctx, func(ctx context.Context) error {
			for _, conn := range taken {
				_ = conn.Close(ctx) // it may be broken
			}
			return nil
		}))
	}()
	take := func() {
		for ctx.Err() == nil {
			conn, err := pgx.Connect(ctx, s.fleet.AppURL())
			if err != nil {
				return // no more
			}
			taken = append(taken, conn)
		}
	}
	take()
	if err := s.exec(ctx, terminateOthers, pidsOf(taken)); err != nil {
		return err
	}
	take()
	s.struck(ctx)
	for end := time.Now().Add(s.between(3*time.Second, 10*time.Second)); time.Now().Before(end); {
		take()
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// terminateOthers ends half of the sessions that do not hold the slots.
const terminateOthers = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('app', 'scheduler_serve') AND pid <> ALL ($1::int[]) AND pid % 2 = 0"

func pidsOf(conns []*pgx.Conn) []int {
	pids := make([]int, 0, len(conns))
	for _, conn := range conns {
		pids = append(pids, int(conn.PgConn().PID()))
	}
	return pids
}

// lock holds an ACCESS EXCLUSIVE lock on a table.
func (s *step) lock(ctx context.Context, table string, d time.Duration) error {
	settings := map[string]string{"application_name": "chaos locks"}
	return once(ctx, s.fleet.URL(), settings, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			return pause(ctx, d)
		})
	})
}
