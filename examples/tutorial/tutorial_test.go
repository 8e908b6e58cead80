package tutorial

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

const wait = 2 * time.Minute

var (
	fileRE    = regexp.MustCompile("(?s)`([a-z_/-]+\\.go)`:\n\n```go\n(.*?)```")
	consoleRE = regexp.MustCompile("(?s)```console\n(.*?)```")
)

// module is what somebody has who follows the page.
type module struct {
	folder      string
	environment []string
}

func (m module) command(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "bash", "-c", "exec "+line)
	command.Dir, command.Env = m.folder, m.environment
	return command
}

// succeed runs a command of the page.
func (m module) succeed(t *testing.T, page, line string) string {
	t.Helper()
	require.Contains(t, page, "$ "+line+"\n", "the page says so")
	out, err := m.command(t, line).CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
	return string(out)
}

func TestTutorial(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/tutorial-module.md")
	require.NoError(t, err)
	page := string(text)
	db := testdb.New(t)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	m := module{folder: t.TempDir(), environment: append(os.Environ(), "DATABASE_URL="+db.URL, "SCHEDULER="+root, "GOFLAGS=-buildvcs=false", "GOWORK=off")}

	files := fileRE.FindAllStringSubmatch(page, -1)
	require.Len(t, files, 3)
	for _, file := range files {
		path := filepath.Join(m.folder, file[1])
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(file[2]), 0o644))
	}
	m.succeed(t, page, "go mod init example.com/shop")
	m.succeed(t, page, "go mod edit -replace github.com/systempromptio/scheduler=$SCHEDULER")
	m.sameVersions(t)
	m.succeed(t, page, "go mod tidy")
	require.Empty(t, m.output(t, "gofmt -l ."), "what the page shows is formatted")
	m.succeed(t, page, "go test ./...")
	m.succeed(t, page, "go build -o shop-scheduler ./cmd/shop-scheduler")

	pool := db.Pool(t)
	_, statement, found := strings.Cut(page, `psql "$DATABASE_URL" -c '`)
	require.True(t, found)
	statement, _, _ = strings.Cut(statement, "'\n")
	_, err = pool.Exec(t.Context(), statement)
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO invitations SELECT n, now() - n * interval '2 hours' FROM generate_series(1, 20) n")
	require.NoError(t, err)

	serve := m.command(t, "./shop-scheduler serve --migrate")
	require.Contains(t, page, "$ ./shop-scheduler serve --migrate\n")
	serve.Stderr = t.Output()
	require.NoError(t, serve.Start())
	defer func() {
		require.NoError(t, serve.Process.Signal(syscall.SIGTERM))
		require.NoError(t, serve.Wait())
	}()
	testdb.WaitFor(t, "the job", wait, func(ctx context.Context) (bool, any, error) {
		var n int
		err := pool.QueryRow(ctx, "SELECT count(*) FROM scheduler.jobs WHERE job_name = 'expire_invitations'").Scan(&n)
		if err != nil {
			return false, err, nil //nolint:nilerr // the schema is not there at first
		}
		return n == 1, n, nil
	})
	require.Contains(t, m.succeed(t, page, "./shop-scheduler jobs"), "expire_invitations")
	m.succeed(t, page, "./shop-scheduler run expire_invitations --dry-run --wait")
	require.Equal(t, 20, count(t, pool.QueryRow(t.Context(), "SELECT count(*)::int FROM invitations")))
	m.succeed(t, page, "./shop-scheduler run expire_invitations --param keep=1h --wait")
	require.Zero(t, count(t, pool.QueryRow(t.Context(), "SELECT count(*)::int FROM invitations")))
	require.Contains(t, m.succeed(t, page, "./shop-scheduler runs"), "success")

	// Whoever adds a command to the page adds it to this test.
	commands := 0
	for _, block := range consoleRE.FindAllStringSubmatch(page, -1) {
		commands += strings.Count(block[1], "$ ")
	}
	require.Equal(t, 13, commands)
}

// sameVersions begins with the versions that the module of the examples has: those that
// are new since would be tried otherwise.
func (m module) sameVersions(t *testing.T) {
	t.Helper()
	versions := m.output(t, "go -C $SCHEDULER list -m -f '{{if not .Main}}{{.Path}}@{{.Version}}{{end}}' github.com/jackc/pgx/v5")
	require.Regexp(t, `^github\.com/jackc/pgx/v5@v`, versions)
	m.output(t, "go mod edit -require="+strings.TrimSpace(versions)+" -require=github.com/systempromptio/scheduler@v0.0.0")
	sums, err := os.ReadFile("../go.sum")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(m.folder, "go.sum"), sums, 0o644))
}

func (m module) output(t *testing.T, line string) string {
	t.Helper()
	out, err := m.command(t, line).CombinedOutput()
	require.NoError(t, err, "%s\n%s", line, out)
	return string(out)
}

func count(t *testing.T, row interface{ Scan(into ...any) error }) int {
	t.Helper()
	var n int
	require.NoError(t, row.Scan(&n))
	return n
}
