package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// naiveLimit is when naive batches are stopped, as a multiple of the time of the one
// statement alone.
const naiveLimit = 2.5

// variant is a way to clean.
type variant struct {
	name string
	// isBeside says that the application goes on meanwhile.
	isBeside bool
	// hasReplica starts a replica of the scheduler beforehand.
	hasReplica bool
	clean      func(ctx context.Context, c *cleaning) error
}

// cleaning is a variant at work.
type cleaning struct {
	s        scenario
	db       *database
	conn     *pgx.Conn     // what one statement and naive batches are sent on
	limit    time.Duration // of naive batches
	control  time.Duration
	replicas *processes
	logFile  string // of the replica

	// took is how long it took, by the ledger; zero: as long as clean did.
	took time.Duration

	note   string // what is told below the table
	isOver bool   // the limit came first
}

// figures are those of one variant.
type figures struct {
	variant string
	took    time.Duration
	isOver  bool
	hasApp  bool
	app     appFigures
	wal     int64
	growth  int64
	hot     float64 // negative if there were no updates
	left    int64
	lost    int64
	note    string
}

// dbState is a row of the statement "state".
type dbState struct{ WAL, Size, Updated, Hot int64 }

func readState(ctx context.Context, s scenario, db *database) (dbState, error) {
	rows, err := db.pool.Query(ctx, statement("state"), pgx.NamedArgs{"cleaned": s.tables[0]})
	if err != nil {
		return dbState{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[dbState])
}

func variants() []variant {
	return []variant{
		{name: "the application alone", isBeside: true, clean: func(ctx context.Context, c *cleaning) error { return pause(ctx, c.control) }},
		{name: "one statement, alone", clean: cleanAtOnce},
		{name: "one statement", isBeside: true, clean: cleanAtOnce},
		{name: "naive batches of 1,000", isBeside: true, clean: cleanNaively},
		{name: "scheduler", isBeside: true, hasReplica: true, clean: cleanByJob},
	}
}

func cleanAtOnce(ctx context.Context, c *cleaning) error {
	_, err := c.conn.Exec(ctx, c.s.statement("one"))
	return err
}

func cleanNaively(ctx context.Context, c *cleaning) error {
	text := c.s.statement("naive")
	for begin := time.Now(); ; {
		tag, err := c.conn.Exec(ctx, text)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if time.Since(begin) > c.limit {
			c.isOver = true
			return nil
		}
	}
}

// endedRun is a row of the statement "run".
type endedRun struct {
	Status, Error         string
	StartedAt, FinishedAt *time.Time
	Rows, Batches         int64
}

func cleanByJob(ctx context.Context, c *cleaning) error {
	run, err := runJob(ctx, c.db, c.s.job)
	if err != nil {
		return err
	}
	c.took = run.FinishedAt.Sub(*run.StartedAt)
	c.note = fmt.Sprintf("scheduler: %d rows in %d batches, peak memory of the replica %s", run.Rows, run.Batches, c.peakMemory())
	held, err := readHeld(c.logFile)
	c.note = strings.Join(append([]string{c.note}, held...), "; ")
	return err
}

// runJob asks for a run and waits until the ledger says that it has ended.
func runJob(ctx context.Context, db *database, job string) (run endedRun, err error) {
	const ask = 20 * time.Millisecond
	var id int64
	if err := db.pool.QueryRow(ctx, statement("ask"), pgx.NamedArgs{"job": job}).Scan(&id); err != nil {
		return run, err
	}
	for {
		rows, err := db.pool.Query(ctx, statement("run"), pgx.NamedArgs{"id": id})
		if err != nil {
			return run, err
		}
		run, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[endedRun])
		if err == nil && run.Status != "success" {
			return run, fmt.Errorf("the run of %s has ended with status %s: %s", job, run.Status, run.Error)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return run, err
		}
		if err := pause(ctx, ask); err != nil {
			return run, err
		}
	}
}

// peakMemory is the most that the one replica has had resident.
func (c *cleaning) peakMemory() string {
	for _, cmd := range c.replicas.replicas {
		value := memory(cmd.Process.Pid, "VmHWM")
		if kB, err := strconv.ParseFloat(strings.TrimSuffix(value, " kB"), 64); err == nil {
			return fmt.Sprintf("%.0f MB", kB/1024)
		}
		return value
	}
	return "unknown"
}

func (b *cleanupBench) runScenario(ctx context.Context, full scenario) (err error) {
	s := full.scaled(b.scale)
	if err := b.fill(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.drop(context.WithoutCancel(ctx), template)) }()
	var all []figures
	var alone time.Duration
	for _, v := range variants() {
		if !strings.HasPrefix(v.name, b.only) && v.isBeside {
			continue
		}
		b.progressf("%s: %s", s.name, v.name)
		f, err := b.measure(ctx, s, v, time.Duration(naiveLimit*float64(alone)))
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		if !v.isBeside {
			alone = f.took
		}
		all = append(all, f)
		b.progressf("%s: %s: %.1f s", s.name, v.name, f.took.Seconds())
	}
	printScenario(s, all, alone)
	return nil
}

// measure lets one variant clean a copy of the template.
func (b *cleanupBench) measure(ctx context.Context, s scenario, v variant, limit time.Duration) (f figures, err error) {
	const name = "cleanup_copy"
	defer func() { err = errors.Join(err, b.drop(context.WithoutCancel(ctx), name)) }()
	db, err := b.restore(ctx, s, name)
	if err != nil {
		return f, err
	}
	defer db.pool.Close()
	c := &cleaning{s: s, db: db, limit: limit, control: b.control}
	if v.hasReplica {
		if err := c.startReplica(ctx); err != nil {
			return f, err
		}
		defer c.endReplica()
	}
	if c.conn, err = pgx.Connect(ctx, db.url); err != nil {
		return f, err
	}
	defer c.conn.Close(context.WithoutCancel(ctx))
	app, err := openApplication(ctx, s, db.url)
	if err != nil {
		return f, err
	}
	defer app.close(ctx)

	before, err := readState(ctx, s, db)
	if err != nil {
		return f, err
	}
	began := time.Now()
	if v.isBeside {
		if c.took > 0 {
			f.took = c.took
		}
		app.begin(ctx)
	}
	cleanErr := v.clean(ctx, c)
	f = figures{variant: v.name, took: time.Since(began), isOver: c.isOver, hasApp: v.isBeside, note: c.note}
	if v.isBeside {
		f.app, err = app.end()
	}
	if err := errors.Join(cleanErr, err); err != nil {
		return f, err
	}
	after, err := readState(ctx, s, db)
	if err != nil {
		return f, err
	}
	f.wal, f.growth = after.WAL-before.WAL, after.Size-before.Size

	// Figures about rows are handed in when a session ends.
	app.close(ctx)
	_ = c.conn.Close(ctx) // its work is done
	c.endReplica()
	return f, f.count(ctx, c, began, before)
}

// count adds what is seen in the tables afterwards.
func (f *figures) count(ctx context.Context, c *cleaning, began time.Time, before dbState) error {
	db := c.db
	err := until(ctx, time.Minute, func() (bool, error) {
		var n int
		err := db.pool.QueryRow(ctx, statement("others")).Scan(&n)
		return n == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the sessions to end: %w", err)
	}
	settled, err := readState(ctx, c.s, db)
	if err != nil {
		return err
	}
	f.hot = -1
	// None of the application's updates is HOT: it sets columns that are indexed.
	if updated := settled.Updated - before.Updated - f.app.updated; c.s.isUpdate && updated > 0 {
		f.hot = float64(settled.Hot-before.Hot) / float64(updated)
	}
	if err := db.pool.QueryRow(ctx, c.s.statement("left"), pgx.NamedArgs{"began": began}).Scan(&f.left); err != nil {
		return err
	}
	noted := f.app.noted
	if noted == nil {
		noted = []string{}
	}
	return db.pool.QueryRow(ctx, c.s.statement("lost"), pgx.NamedArgs{"noted": noted}).Scan(&f.lost)
}

// startReplica starts a replica that cleans, and waits until it leads.
func (c *cleaning) startReplica(ctx context.Context) error {
	file, err := os.CreateTemp("", "scheduler-bench-*.log")
	if err != nil {
		return err
	}
	file.Close()
	c.logFile = file.Name()
	c.replicas = newProcesses(c.db, cleanerEnv+"="+c.logFile)
	if err = c.replicas.start(); err == nil {
		err = c.replicas.wait(ctx, 1)
	}
	if err != nil {
		c.endReplica()
	}
	return err
}

func (c *cleaning) endReplica() {
	if c.replicas != nil {
		c.replicas.end()
		_ = os.Remove(c.logFile) // gone already the second time
	}
}
