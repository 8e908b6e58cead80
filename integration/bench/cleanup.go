package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// cleanupSettings are those of the server of the cleanup benchmark: what a careful
// installation has, and nothing that is tuned for a figure.
var cleanupSettings = []string{
	"shared_buffers=2GB", "max_wal_size=4GB", "fsync=on", "synchronous_commit=on", "full_page_writes=on", "autovacuum=on",
	"maintenance_work_mem=512MB",
}

//go:embed sql
var cleanupFiles embed.FS

// statement is the text of a file in the folder sql.
func statement(name string) string {
	text, err := fs.ReadFile(cleanupFiles, "sql/"+name+".sql")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(text))
}

// cleanupBench runs scenarios on one server.
type cleanupBench struct {
	server  *testdb.Server
	scale   float64
	control time.Duration
	begin   time.Time
	// only, if not empty, is what the names of the variants begin with that are measured.
	only string
}

// runCleanup measures cleaning large tables: by one statement, by naive batches, and
// by the scheduler's jobs, in the same run and beside the same application.
func runCleanup(ctx context.Context, args []string) (err error) {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	names = append(names, scenarioNothing)
	b := &cleanupBench{begin: time.Now()}
	flags := flag.NewFlagSet("bench cleanup", flag.ContinueOnError)
	chosen := flags.String("scenarios", "", "scenarios to run, with commas between: "+strings.Join(names, ", ")+" (default: all but "+scenarioLarge+")")
	flags.Float64Var(&b.scale, "scale", 1, "size of the tables; 0.05 for a quick try")
	flags.StringVar(&b.only, "variant", "", "measure only the variants whose names begin so, and the one statement alone")
	flags.DurationVar(&b.control, "control", 10*time.Second, "how long the application is measured alone")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 || b.scale <= 0 || b.control <= 0 {
		return fmt.Errorf("%s: give -scenarios, -scale and -control, each positive", strings.Join(args, " "))
	}
	wanted := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == scenarioLarge })
	if *chosen != "" {
		wanted = strings.Split(*chosen, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("-scenarios: %q is none; there are: %s", name, strings.Join(names, ", "))
		}
	}

	var options testdb.Options
	for _, setting := range cleanupSettings {
		options.Args = append(options.Args, "-c", setting)
	}
	if b.server, err = testdb.Run(ctx, options); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.Close(context.WithoutCancel(ctx))) }()
	if err := b.printHeader(ctx, args); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if !slices.Contains(wanted, s.name) {
			continue
		}
		if err := b.runScenario(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if slices.Contains(wanted, scenarioNothing) {
		if err := b.nothing(ctx); err != nil {
			return fmt.Errorf("%s: %w", scenarioNothing, err)
		}
	}
	b.progressf("done")
	return nil
}

func (b *cleanupBench) printHeader(ctx context.Context, args []string) error {
	var version string
	var settings []string
	err := b.onServer(ctx, func(conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&version); err != nil {
			return err
		}
		rows, err := conn.Query(ctx, statement("settings"))
		if err != nil {
			return err
		}
		settings, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{"go run ./integration/bench cleanup"}, args...), " ")
	fmt.Printf("# Cleaning large tables, measured\n\n`%s`, %s\n\n", command, b.begin.UTC().Format(time.DateOnly))
	fmt.Printf("- Machine: %s/%s, %d cores, %s of memory; %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), totalMemory(), runtime.Version())
	fmt.Printf("- PostgreSQL %s in a container on it: %s\n", version, strings.Join(settings, ", "))
	fmt.Printf("- Each variant begins with the same copy of the tables, in the buffers, after a CHECKPOINT. One run each.\n")
	fmt.Printf("- Application: 4 connections; each statement has its time, and its latency counts from that. Kept: done ÷ scheduled while the cleaning went on. What had to wait until the end counts with the time that it had waited.\n")
	fmt.Printf("- WAL is that of the cleaning and of the application. Growth is that of the table and its indexes. HOT is the share of the cleaning's updates that touched no index. Left: rows that should have gone.\n")
	return nil
}

// onServer lends a connection to the maintenance database.
func (b *cleanupBench) onServer(ctx context.Context, f func(conn *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, b.server.URL("postgres"))
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(context.WithoutCancel(ctx)))
}

// progressf tells on standard error what goes on.
func (b *cleanupBench) progressf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// totalMemory is that of the machine, on Linux.
func totalMemory() string {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "unknown"
	}
	var kB float64
	if _, err := fmt.Sscanf(string(info), "MemTotal: %f kB", &kB); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.0f GB", kB/(1<<20))
}
