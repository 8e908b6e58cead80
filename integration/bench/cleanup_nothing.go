package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// nothingRounds is how often the same is measured.
const nothingRounds = 7

// nothing measures a run that finds nothing to do, beside the plain SELECT that does.
func (b *cleanupBench) nothing(ctx context.Context) (err error) {
	s := scenarios()[1].scaled(b.scale)
	s.name, s.isEnded = scenarioNothing, true
	if err := b.fill(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.drop(context.WithoutCancel(ctx), template)) }()
	const name = "cleanup_copy"
	defer func() { err = errors.Join(err, b.drop(context.WithoutCancel(ctx), name)) }()
	b.progressf("%s: measure", s.name)
	db, err := b.restore(ctx, s, name)
	if err != nil {
		return err
	}
	defer db.pool.Close()
	c := &cleaning{s: s, db: db}
	if err := c.startReplica(ctx); err != nil {
		return err
	}
	defer c.endReplica()

	var selects, works []time.Duration
	var writes []int64
	for range nothingRounds {
		took, err := c.selectNothing(ctx)
		if err != nil {
			return err
		}
		selects = append(selects, took)
		work, wal, err := c.cleanNothing(ctx)
		if err != nil {
			return err
		}
		works, writes = append(works, work), append(writes, wal)
	}
	rest, err := c.walOf(ctx, func() error { return pause(ctx, b.control) })
	if err != nil {
		return err
	}
	slices.Sort(selects)
	slices.Sort(works)
	first := writes[0]
	slices.Sort(writes)
	fmt.Printf("\n## %s\n\nuser_sessions: %d rows, of which %d are old and ended: none to close. %d rounds, no application.\n\n", s.name, s.rows, s.old, nothingRounds)
	fmt.Printf("| | Median, ms | Longest, ms | WAL, bytes (median; first after a CHECKPOINT) |\n|---|--:|--:|--:|\n")
	fmt.Printf("| plain SELECT count(*) of the rule | %s | %s | – |\n", milliseconds(quantile(selects, half)), milliseconds(selects[len(selects)-1]))
	fmt.Printf("| run of %s, started_at to finished_at | %s | %s | %d; %d |\n", s.job, milliseconds(quantile(works, half)), milliseconds(works[len(works)-1]), writes[len(writes)/2], first)
	fmt.Printf("\n- ratio of the medians: %.2f\n- the replica at rest for %v: %d bytes of WAL\n", quantile(works, half).Seconds()/quantile(selects, half).Seconds(), b.control, rest)
	return nil
}

// selectNothing is the time of the SELECT that finds nothing.
func (c *cleaning) selectNothing(ctx context.Context) (time.Duration, error) {
	var found int64
	begin := time.Now()
	err := c.db.pool.QueryRow(ctx, c.s.statement("left"), pgx.NamedArgs{"began": begin}).Scan(&found)
	took := time.Since(begin)
	if err == nil && found > 0 {
		err = fmt.Errorf("%d rows are stale, there should be none", found)
	}
	return took, err
}

// cleanNothing is the time of the work of a run that finds nothing, and the bytes of
// WAL that were written from the request to the end.
func (c *cleaning) cleanNothing(ctx context.Context) (took time.Duration, wal int64, err error) {
	var run endedRun
	wal, err = c.walOf(ctx, func() (err error) {
		run, err = runJob(ctx, c.db, c.s.job)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if run.Rows > 0 {
		return 0, 0, fmt.Errorf("the run of %s has changed %d rows, there should be none to change", c.s.job, run.Rows)
	}
	return run.FinishedAt.Sub(*run.StartedAt), wal, nil
}

// walOf is how many bytes of WAL the server wrote meanwhile.
func (c *cleaning) walOf(ctx context.Context, f func() error) (int64, error) {
	before, err := readState(ctx, c.s, c.db)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := readState(ctx, c.s, c.db)
	return after.WAL - before.WAL, err
}
