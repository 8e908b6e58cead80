package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql/platform"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

const wait = time.Minute

// platformed is a database with the platform's tables, and nothing of the scheduler's.
var platformed = testdb.Template("platformed", func(ctx context.Context, url string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return platform.Create(ctx, conn)
})

// program builds this command once.
var program = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "blog-scheduler")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "blog-scheduler")
	out, err := exec.Command("go", "build", "-race=false", "-tags=nodynamic", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the command: %w\n%s", err, out)
	}
	return path, nil
})

// call prepares a call of the program, which ends with the test at the latest.
func call(t *testing.T, db *testdb.DB, config string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), path, args...)
	command.Dir = t.TempDir()
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + db.URL, "BLOG_CONFIG=" + config}
	command.Stderr = t.Output()
	return command
}

// serve starts a replica and returns what sends it a signal and waits for its end.
func serve(t *testing.T, db *testdb.DB, config string) (end func(signal syscall.Signal) error) {
	t.Helper()
	command := call(t, db, config, "serve", "--migrate", "--log-level", "error")
	require.NoError(t, command.Start())
	var once sync.Once
	var result error
	end = func(signal syscall.Signal) error {
		once.Do(func() {
			result = command.Process.Signal(signal)
			if err := command.Wait(); result == nil {
				result = err
			}
		})
		return result
	}
	t.Cleanup(func() { _ = end(syscall.SIGKILL) }) // it may have ended as the test wanted it
	return end
}

func waitFor[T comparable](t *testing.T, pool *pgxpool.Pool, want T, query string) {
	t.Helper()
	testdb.WaitFor(t, query, wait, func(ctx context.Context) (bool, any, error) {
		var got T
		err := pool.QueryRow(ctx, query).Scan(&got)
		if err != nil {
			return false, err, nil //nolint:nilerr // the schema, or the row, is not there at first
		}
		return got == want, got, nil
	})
}

func configured(t *testing.T, contents map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range contents {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	path := filepath.Join(folder, "blog.yaml")
	require.NoError(t, os.WriteFile(path, []byte("sources: [{name: main, path: content, source_id: blog}]\n"), 0o644))
	return path
}

func article(i int) string {
	return fmt.Sprintf("---\ntitle: Number %d\nslug: n-%d\npublished_at: 2026-01-31\nkind: article\nauthor: Ada\n---\ntext\n", i, i)
}

// TestProgramIsShort: a scheduler of one's own takes less than 30 lines.
func TestProgramIsShort(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Less(t, bytes.Count(source, []byte("\n")), 30)
}

func TestProgram(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformed)
	pool := db.Pool(t)
	config := configured(t, map[string]string{"content/a.md": article(1), "content/bad.md": "bad"})
	end := serve(t, db, config)
	waitFor(t, pool, 2, "SELECT count(*)::int FROM scheduler.jobs WHERE job_name IN ('content_ingestion', 'image_optimization')")

	out, err := call(t, db, config, "jobs").Output()
	require.NoError(t, err)
	for _, name := range []string{"content_ingestion", "image_optimization", "cleanup_empty_contexts", "cleanup_inactive_sessions", "cleanup_job_runs", "database_cleanup"} {
		require.Contains(t, string(out), name)
	}
	out, err = call(t, db, config, "run", "content_ingestion", "--wait").Output()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "main/bad.md")
	waitFor(t, pool, "Number 1", "SELECT title FROM markdown_content WHERE slug = 'n-1'")

	// By its schedule, too.
	_, err = pool.Exec(t.Context(), "SELECT scheduler.reschedule_job('content_ingestion', '* * * * * *')")
	require.NoError(t, err)
	waitFor(t, pool, true, "SELECT count(*) > 0 FROM scheduler.runs WHERE job_name = 'content_ingestion' AND trigger = 'schedule' AND status = 'success'")
	require.NoError(t, end(syscall.SIGTERM))
}

func TestProgram_badConfiguration(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformed)
	config := configured(t, nil)
	require.NoError(t, os.WriteFile(config, []byte("sources: [{name: a, pth: b}]"), 0o644))
	command := call(t, db, config, "serve", "--migrate")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	var exit *exec.ExitError
	require.ErrorAs(t, command.Run(), &exit)
	require.Equal(t, 2, exit.ExitCode())
	require.Contains(t, stderr.String(), "blog.yaml: yaml: unmarshal errors: line 1: field pth not found")
}

// A replica that is killed in the middle loses nothing, and nothing is done twice.
func TestProgram_killed(t *testing.T) {
	t.Parallel()
	contents := make(map[string]string, 5000)
	for i := range 5000 {
		contents[fmt.Sprintf("content/%d.md", i)] = article(i)
	}
	db := testdb.New(t, platformed)
	pool := db.Pool(t)
	config := configured(t, contents)
	// The tenth batch waits for a lock that the test has, so that it is under way when the
	// replica is killed.
	_, err := pool.Exec(t.Context(), `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT count(*) FROM markdown_content) >= 900 THEN PERFORM pg_advisory_xact_lock(42); END IF; RETURN NULL; END $$;
		CREATE TRIGGER hold BEFORE INSERT ON markdown_content EXECUTE FUNCTION hold()`)
	require.NoError(t, err)
	holder := db.Conn(t)
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_lock(42)")
	require.NoError(t, err)

	first := serve(t, db, config)
	waitFor(t, pool, 1, "SELECT count(*)::int FROM scheduler.jobs WHERE job_name = 'content_ingestion'")
	_, err = pool.Exec(t.Context(), "SELECT scheduler.run_now('content_ingestion')")
	require.NoError(t, err)
	waitFor(t, pool, true, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted")
	require.Error(t, first(syscall.SIGKILL))
	serve(t, db, config)
	waitFor(t, pool, 1, "SELECT count(*)::int FROM scheduler.leader")
	_, err = holder.Exec(t.Context(), "SELECT pg_advisory_unlock(42)")
	require.NoError(t, err)

	waitFor(t, pool, "success", "SELECT status FROM scheduler.runs WHERE job_name = 'content_ingestion'")
	waitFor(t, pool, "5000 files: 5000 inserted, 0 updated, 0 unchanged, 0 failed; 4800 of those that were written are not listed",
		"SELECT targets->'main'->>'note' FROM scheduler.runs WHERE job_name = 'content_ingestion'")
	waitFor(t, pool, 5000, "SELECT count(*)::int FROM markdown_content")
}
