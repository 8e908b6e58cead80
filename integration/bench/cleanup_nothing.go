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

	var selects, counts, works []time.Duration
	var writes []int64
	for range nothingRounds {
		took, err := c.selectNothing(ctx, "select")
		if err != nil {
			return err
		}
		selects = append(selects, took)
		if took, err = c.selectNothing(ctx, "left"); err != nil {
			return err
		}
		counts = append(counts, took)
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
	slices.Sort(counts)
	slices.Sort(works)
	first := writes[0]
	slices.Sort(writes)
	fmt.Printf("\n## %s\n\nuser_sessions: %d rows, of which %d are old and ended: none to close. %d rounds, no application.\n\n", s.name, s.rows, s.old, nothingRounds)
	fmt.Printf("| | Median, ms | Longest, ms | WAL, bytes (median; first after a CHECKPOINT) |\n|---|--:|--:|--:|\n")
	fmt.Printf("| the rule's SELECT | %s | %s | – |\n", milliseconds(quantile(selects, half)), milliseconds(selects[len(selects)-1]))
	fmt.Printf("| count(*) of it | %s | %s | – |\n", milliseconds(quantile(counts, half)), milliseconds(counts[len(counts)-1]))
	fmt.Printf("| run of %s, started_at to finished_at | %s | %s | %d; %d |\n", s.job, milliseconds(quantile(works, half)), milliseconds(works[len(works)-1]), writes[len(writes)/2], first)
	fmt.Printf("\n- ratio of the run's median to the SELECT's: %.2f, to the count's: %.2f\n- the replica at rest for %v: %d bytes of WAL\n", quantile(works, half).Seconds()/quantile(selects, half).Seconds(), quantile(works, half).Seconds()/quantile(counts, half).Seconds(), b.control, rest)
	return nil
}

// selectNothing is the time of a SELECT that finds nothing, or counts none.
func (c *cleaning) selectNothing(ctx context.Context, name string) (time.Duration, error) {
	begin := time.Now()
	rows, err := c.db.pool.Query(ctx, c.s.statement(name), pgx.NamedArgs{"began": begin})
	if err != nil {
		return 0, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToMap)
	took := time.Since(begin)
	if err == nil && len(found) > 0 && found[0]["count"] != int64(0) {
		err = fmt.Errorf("rows are stale, there should be none: %v", found[0])
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
