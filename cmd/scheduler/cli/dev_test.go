package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/internal/devdb"
)

// developmentOf is "dev" as these arguments and variables make it.
func developmentOf(t *testing.T, variables map[string]string, args ...string) *development {
	t.Helper()
	a := &app{program: "./bin/scheduler", stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, lookupEnv: func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}}
	for name, value := range variables {
		a.environ = append(a.environ, name+"="+value)
	}
	cmd, rest, err := a.root().Find(append([]string{"dev"}, args...))
	require.NoError(t, err)
	require.NoError(t, cmd.ParseFlags(rest))
	settings, err := a.settings()
	require.NoError(t, err)
	return &development{app: a, settings: settings, out: &lines{w: a.stdout}}
}

// A replica gets the settings of dev, and no password is among its arguments.
func TestReplicasArgumentsAndEnvironment(t *testing.T) {
	t.Parallel()
	path := file(t, "leader_database_url: host=elsewhere password=secret\n")
	d := developmentOf(t, map[string]string{"DATABASE_URL": "host=x", "SCHEDULER_MAX_WORKERS": "3", "HOME": "/root"},
		"--config", path, "--database-url", "host=a password=secret", "--log-level=debug", "--schema", "mine")
	d.settings.Scheduler.DryRun = true
	require.Equal(t, []string{"serve", "--bootstrap-jobs=a,b", "--config=" + path, "--schema=mine", "--dry-run=true", "--log-level=debug"}, d.serveArgs([]string{"a", "b"}))
	require.ElementsMatch(t, []string{
		"DATABASE_URL=host=x", "SCHEDULER_MAX_WORKERS=3", "HOME=/root",
		"SCHEDULER_DATABASE_URL=host=a password=secret", "SCHEDULER_LEADER_DATABASE_URL=host=elsewhere password=secret", "SCHEDULER_HTTP_TOKEN=",
	}, d.serveEnviron())

	// With the development database, a direct connection to another is not in force.
	d = developmentOf(t, nil, "--config", path)
	d.settings.Scheduler.LeaderDatabaseURL = ""
	require.Contains(t, d.serveArgs(nil), "--leader-database-url=")
}

func TestBootstrapJobsOfDev(t *testing.T) {
	t.Parallel()
	require.Len(t, developmentOf(t, nil).bootstrapJobs(), 4, "all")
	require.Equal(t, []string{"database_cleanup"}, developmentOf(t, nil, "--bootstrap-jobs", "database_cleanup").bootstrapJobs())
	require.Empty(t, developmentOf(t, nil, "--bootstrap-jobs=").bootstrapJobs())
}

// The commands that dev shows lead to its database when they are copied.
func TestShownCommands(t *testing.T) {
	t.Parallel()
	own := map[string]string{"DATABASE_URL": "host=a"}
	path := file(t, "database_url: host=b\n")
	for _, test := range []struct {
		variables map[string]string
		args      []string
		embedded  bool
		want      string
	}{
		{nil, nil, true, `./bin/scheduler jobs`},
		{map[string]string{"PGHOST": "x"}, nil, true, `./bin/scheduler jobs --database-url "$(cat .dev/url)"`},
		{nil, []string{"--schema", "mine"}, true, `./bin/scheduler jobs --schema mine`},
		{own, nil, false, `./bin/scheduler jobs`},
		{own, []string{"--schema=mine"}, false, `./bin/scheduler jobs --schema mine`},
		{nil, []string{"--database-url", "host=a user=b"}, false, `./bin/scheduler jobs --database-url 'host=a user=b'`},
		{nil, []string{"--config", path}, false, `./bin/scheduler jobs --config ` + path},
	} {
		d := developmentOf(t, test.variables, test.args...)
		if test.embedded {
			d.database = &devdb.DB{}
		}
		require.Equal(t, test.want, d.command("jobs"))
	}
}

// In somebody's own database it says so before it connects.
func TestOwnDatabaseIsSaidFirst(t *testing.T) {
	t.Parallel()
	got := call(t, map[string]string{"DATABASE_URL": nowhere}, "dev")
	require.Equal(t, exitFailed, got.code)
	require.Equal(t, `This is your own database "nowhere" at 127.0.0.1:1 as user "me", from DATABASE_URL.
Nothing is made in it but the schema "scheduler".
Every job is in dry run: it reports what it would clean and changes nothing.
`, got.stdout)
	got = call(t, map[string]string{"DATABASE_URL": nowhere}, "dev", "--dry-run=false", "--schema", "mine")
	require.Contains(t, got.stdout, "Nothing is made in it but the schema \"mine\".\nThe jobs really clean it, as --dry-run=false says.\n")

	// The environment and the file cannot say that.
	path := file(t, "jobs:\n  - name: database_cleanup\n    dry_run: false\n")
	got = call(t, map[string]string{"DATABASE_URL": nowhere, "SCHEDULER_DRY_RUN": "false"}, "dev", "--config", path)
	require.Contains(t, got.stdout, "Every job is in dry run")
}

func TestDevelopmentURL(t *testing.T) {
	// It looks in the working directory.
	t.Chdir(t.TempDir())
	for _, url := range []string{"", "not a url", "postgres://u:p@192.0.2.1:5432/platform", nowhere} {
		if url != "" {
			require.NoError(t, os.MkdirAll(devFolder, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(devFolder, "url"), []byte(url+"\n"), 0o600))
		}
		var stderr bytes.Buffer
		require.Empty(t, (&app{stderr: &stderr}).developmentURL(t.Context()), url)
		require.Empty(t, stderr.String(), url)
	}
	got := call(t, map[string]string{"PGHOST": "127.0.0.1", "PGPORT": "1"}, "jobs")
	require.True(t, strings.HasPrefix(got.stderr, "scheduler: connect to database "), got.stderr)
}
