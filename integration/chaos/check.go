package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Every file is one check: a statement that returns what is wrong. @since is the
// second from which on everything must be right.
//
//go:embed sql/*.sql
var checkFiles embed.FS

// A violation is a broken promise.
type violation struct {
	Kind   string // as in the files under sql
	Key    string // tells it from others of its kind
	N      int64  // ticks or effects
	Detail string // the rows concerned
}

func (v violation) String() string {
	return fmt.Sprintf("%s %s (%d): %s", v.Kind, v.Key, v.N, v.Detail)
}

// stats are what the ledger says of each_second, beside what is wrong.
type stats struct {
	Success, Missed, Skipped int64
	Failed                   int64 // of all jobs
}

// checker checks the database, and remembers what it has reported.
type checker struct {
	since time.Time // by the database's clock
	seen  map[string]bool
	stats stats
}

// newChecker checks what happens from the next second on.
func newChecker(ctx context.Context, db querier) (*checker, error) {
	since, err := ask[time.Time](ctx, db, "SELECT date_trunc('second', clock_timestamp()) + interval '1 second'")
	return &checker{since: since, seen: make(map[string]bool)}, err
}

// beginner is where a transaction begins.
type beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// run makes all checks in one snapshot. It returns what it has not returned
// before, and what was missed, skipped and given up since the last call.
func (c *checker) run(ctx context.Context, db beginner) (news []violation, since stats, err error) {
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		files, err := fs.Glob(checkFiles, "sql/*.sql")
		if err != nil {
			return err
		}
		for _, file := range files {
			statement, err := checkFiles.ReadFile(file)
			if err != nil {
				return err
			}
			rows, err := tx.Query(ctx, string(statement), pgx.NamedArgs{"since": c.since})
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			found, err := pgx.CollectRows(rows, pgx.RowToStructByName[violation])
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			news = append(news, c.unseen(found)...)
		}
		now, err := readStats(ctx, tx, c.since)
		if err != nil {
			return err
		}
		// After a failover some of what was counted may be gone.
		since = stats{
			Success: max(now.Success-c.stats.Success, 0), Missed: max(now.Missed-c.stats.Missed, 0),
			Skipped: max(now.Skipped-c.stats.Skipped, 0), Failed: max(now.Failed-c.stats.Failed, 0),
		}
		c.stats = now
		return nil
	})
	return news, since, err
}

// unseen are those that were not reported yet.
func (c *checker) unseen(found []violation) []violation {
	var news []violation
	for _, v := range found {
		id := v.Kind + "\x00" + v.Key
		if !c.seen[id] {
			c.seen[id] = true
			news = append(news, v)
		}
	}
	return news
}

func readStats(ctx context.Context, db querier, since time.Time) (stats, error) {
	rows, err := db.Query(ctx, `
		SELECT count(*) FILTER (WHERE status = 'success') AS success,
		       coalesce(sum(missed_count), 0)::bigint AS missed,
		       count(*) FILTER (WHERE status = 'skipped') AS skipped,
		       (SELECT count(*) FROM scheduler.job_runs WHERE status = 'failed') AS failed
		FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND tick >= $1`, since)
	if err != nil {
		return stats{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[stats])
}

// lastLines are the last n lines of a text, and of each what fits into a line or two.
func lastLines(text string, n int) string {
	const width = 300
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		if len(line) > width {
			lines[i] = line[:width] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// gone says whether an error means that the program was told to end.
func gone(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled))
}
