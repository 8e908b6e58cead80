package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/internal/metrics"
	_ "github.com/systempromptio/scheduler/jobs/cleanup" // the jobs of cmd/scheduler
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// called is what a call of the program has left.
type called struct {
	code           int
	stdout, stderr string
}

// call calls the program in this process, with these variables and no others.
func call(t *testing.T, variables map[string]string, args ...string) called {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		program: "scheduler",
		stdin:   strings.NewReader(""),
		stdout:  &stdout,
		stderr:  &stderr,
		lookupEnv: func(name string) (string, bool) {
			value, ok := variables[name]
			return value, ok
		},
	}
	code := a.run(t.Context(), args)
	return called{code: code, stdout: stdout.String(), stderr: stderr.String()}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// nowhere is an address at which nobody listens.
const nowhere = "postgres://me:secret@127.0.0.1:1/nowhere"

func TestRefusedCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args string
		want string
	}{
		{"jbos", `unknown command "jbos" for "scheduler"; did you mean `},
		{"xyzzy", `unknown command "xyzzy" for "scheduler"`},
		{"migrate", `say what to do: migrate up, migrate down or migrate status`},
		{"migrate sideways", `unknown command "sideways" for "scheduler migrate"`},
		{"analytics", `say what to show: analytics categories, low, issues, goals, evaluations or distribution`},
		{"analytics everything", `unknown command "everything" for "scheduler analytics"`},
		{"analytics categories more", `"scheduler analytics categories" takes no argument, but was given "more"`},
		{"analytics issues --limit 0", `--limit is 0, must be between 1 and 10000`},
		{"analytics low --below high", `invalid argument "high" for "--below" flag: must be a number`},
		{"jobs --nope", `unknown flag: --nope`},
		{"jobs extra", `"scheduler jobs" takes no argument, but was given "extra"`},
		{"job", `"scheduler job" needs a job's name`},
		{"run", `"scheduler run" needs a job's name`},
		{"run a b", `"scheduler run" takes a job's name only, but was also given "b"`},
		{"run a --at tomorrow", `--at is "tomorrow", which is not a time; write one such as 2026-03-29T14:30:00Z, or 2026-03-29 or "2026-03-29 14:30", which is read in the job's time zone; or +90m, which is counted from now`},
		{"run a --at=", `--at is "", which is not a time`},
		{"run a --at +soon", `--at: "soon" is no duration; write one such as 24h, 90m or 7d`},
		{"run a --at +-5m", `--at: "-5m" is out of range; a duration must be positive and at most ten years (3653d)`},
		{"cancel", `"scheduler cancel" needs a run's id, as in: scheduler runs; or --backfill with the id of a backfill`},
		{"cancel 1 x", `"x" is not the id of a run, a whole number as in: scheduler runs`},
		{"cancel 1 0", `"0" is not the id of a run`},
		{"cancel 99999999999999999999", `is not the id of a run`},
		{"cancel 1 --backfill 2", `--backfill is for all runs of a backfill; leave out either it or "1"`},
		{"cancel --backfill 0", `--backfill is 0, must be the id of a backfill, as in: scheduler backfills`},
		{"cancel --backfill x", `invalid argument "x" for "--backfill" flag: must be a whole number`},
		{"runs --backfill 0", `--backfill is 0, must be the id of a backfill; list them with: scheduler backfills`},
		{"runs --backfill 99999999999999999999", `invalid argument "99999999999999999999" for "--backfill" flag: is far out of range`},
		{"run a --dry-run=maybe", `invalid argument "maybe" for "--dry-run" flag: must be true or false`},
		{"dev --replicas two", `invalid argument "two" for "--replicas" flag: must be a whole number`},
		{"pause a", `pausing needs a reason, for whoever finds it paused: --reason 'why'`},
		{"pause --all", `pausing needs a reason, for whoever finds it paused: --reason 'why'`},
		{"pause --reason x", `"scheduler pause" needs a job's name, or --all for the whole scheduler`},
		{"pause a --all --reason x", `--all is for the whole scheduler; leave out either it or "a"`},
		{"pause a b --reason x", `"scheduler pause" takes a job's name only, but was also given "b"`},
		{"resume", `"scheduler resume" needs a job's name, or --all for the whole scheduler`},
		{"resume a --all", `--all is for the whole scheduler; leave out either it or "a"`},
		{"reschedule", `"scheduler reschedule" needs a job's name`},
		{"reschedule a", `"scheduler reschedule" needs a cron expression in quotes, such as '0 3 * * *'; or --reset, which goes back to the declared schedule`},
		{"reschedule a 0 3 bin docs", `the expression came as 4 arguments: put it in quotes, or the shell replaces each * by the names of files`},
		{"reschedule a @daily --reset", `--reset goes back to the declared schedule; leave out either it or "@daily"`},
		{"backfill", `"scheduler backfill" needs a job's name`},
		{"backfill a", `a backfill needs the time of its oldest tick: --from 2026-03-29`},
		{"backfill a --from then", `--from is "then", which is not a time; write one such as`},
		{"backfill a --from 2026-03-29 --to=", `--to is "", which is not a time; write one such as`},
		{"backfill a --from 2026-03-29 --to 2026-03-28", `--from "2026-03-29" is later than --to "2026-03-28"; give the earlier one first`},
		{"backfill a --from 2026-03-29T00:00:01Z --to 2026-03-29T00:00:00Z", `is later than --to`},
		{"backfill a --from 2026-03-29 --limit -1", `--limit is -1, must be between 1 and 10000`},
		{"backfill a --from 2026-03-29 --limit 0", `--limit is 0, must be between 1 and 10000`},
		{"backfill a --from 2026-03-29 --limit 10001", `--limit is 10001, must be between 1 and 10000`},
		{"backfills x", `"x" is not the id of a backfill, a whole number as in: scheduler backfills`},
		{"backfills 1 2", `"scheduler backfills" takes the id of a backfill only, but was also given "2"`},
		{"agenda --for 0s", `--for: "0s" is out of range; a duration must be positive and at most ten years (3653d)`},
		{"agenda --for -1h", `--for: "-1h" is out of range`},
		{"agenda --for 3654d", `--for: "3654d" is out of range`},
		{"agenda --for soon", `--for: "soon" is no duration; write one such as 24h, 90m or 7d`},
		{"runs --limit 0", `--limit is 0, must be at least 1`},
		{"runs --limit x", `invalid argument "x" for "--limit" flag`},
		{"runs --status bad", `--status is "bad", must be one of: requested, scheduled, waiting, pending, running, retrying, success, failed, cancelled, skipped, missed`},
		{"serve --max-workers 0", `invalid argument "0" for "--max-workers" flag: is 0, must be at least 1`},
		{"serve --shutdown-timeout 5", `must be a duration such as "90s" or "1h30m", not "5"`},
		{"serve --enabled=maybe", `must be true or false, not "maybe"`},
		{"serve --log-level loud", `is "loud", must be one of: debug, info, warn, error`},
		{"dev --replicas 0", `--replicas is 0, must be between 1 and 9`},
		{"dev --migrate", `unknown flag: --migrate`},
		{"migrate down --steps 0", `--steps is 0, must be at least 1; for everything there is --all`},
		{"migrate down --steps 1 --all", `--steps and --all exclude each other`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			got := call(t, map[string]string{"DATABASE_URL": nowhere}, strings.Fields(test.args)...)
			require.Equal(t, exitRefused, got.code)
			require.Empty(t, got.stdout)
			lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
			require.Len(t, lines, 2, got.stderr)
			require.True(t, strings.HasPrefix(lines[0], "scheduler: "), got.stderr)
			require.Contains(t, lines[0], test.want)
			require.NotContains(t, lines[0], "strconv")
			require.Regexp(t, `^Run "scheduler.* --help" for usage\.$`, lines[1])
		})
	}
}

func TestRefusedEmptyExpression(t *testing.T) {
	t.Parallel()
	got := call(t, map[string]string{"DATABASE_URL": nowhere}, "reschedule", "a", " ")
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.stderr, "the expression is empty; give one such as '0 3 * * *', or --reset")
}

func TestRefusedConfiguration(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"serve", "dev", "jobs", "job x", "run x", "run x --at +1h", "runs", "agenda", "cancel 1", "cancel --backfill 1",
		"pause x --reason y", "pause --all --reason y", "resume x", "resume --all", "reschedule x @daily", "reschedule x --reset",
		"backfill x --from 2026-03-29", "backfills", "backfills 1", "leader", "replicas", "migrate up", "migrate down --yes", "migrate status",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			path := file(t, "schema: public\nnonsense: 1\n")
			got := call(t, map[string]string{"SCHEDULER_TIMEZONE": "Mars", "DATABASE_URL": nowhere}, append(strings.Fields(command), "--config", path)...)
			require.Equal(t, exitRefused, got.code)
			require.Empty(t, got.stdout)
			lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
			require.Len(t, lines, 4, got.stderr)
			require.Equal(t, "scheduler: the configuration has 3 mistakes:", lines[0])
			require.True(t, strings.HasPrefix(lines[1], path+":1:9: schema: "), lines[1])
			require.True(t, strings.HasPrefix(lines[2], path+`:2:1: unknown field "nonsense"`), lines[2])
			require.True(t, strings.HasPrefix(lines[3], "SCHEDULER_TIMEZONE: "), lines[3])
		})
	}
	got := call(t, nil, "jobs", "--schema", "public")
	require.Equal(t, exitRefused, got.code)
	require.True(t, strings.HasPrefix(got.stderr, `scheduler: --schema: schema "public" belongs to the application`), got.stderr)
}

// A server that does not answer is not bad input: it may be there the next time.
func TestNoServer(t *testing.T) {
	t.Parallel()
	for _, command := range []string{
		"jobs", "job x", "run x", "run x --at +1h", "runs", "agenda", "cancel 1", "cancel --backfill 1",
		"pause x --reason y", "pause --all --reason y", "resume x", "resume --all", "reschedule x @daily", "reschedule x --reset",
		"backfill x --from 2026-03-29", "backfills", "backfills 1", "leader", "replicas", "migrate up", "migrate down --yes", "migrate status",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			got := call(t, nil, append(strings.Fields(command), "--database-url", nowhere)...)
			require.Equal(t, exitFailed, got.code)
			require.Empty(t, got.stdout)
			require.Equal(t, 1, strings.Count(got.stderr, "\n"), got.stderr)
			require.Contains(t, got.stderr, `scheduler: connect to database "nowhere" at 127.0.0.1:1 as user "me": connect: connection refused; is the server running there?`)
			require.NotContains(t, got.stderr, "secret")
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "version")
	require.Equal(t, exitDone, got.code)
	require.Regexp(t, `^scheduler \S+ \(go1\S+, \w+/\w+\)\n$`, got.stdout)
	var info map[string]string
	require.NoError(t, json.Unmarshal([]byte(call(t, nil, "version", "--json").stdout), &info))
	require.ElementsMatch(t, []string{"version", "go_version", "platform"}, keys(info))
}

func keys[V any](m map[string]V) []string {
	var list []string
	for key := range m {
		list = append(list, key)
	}
	return list
}

// Every command says what it is for and how it is used.
func TestHelp(t *testing.T) {
	t.Parallel()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		require.NotNil(t, cmd.Args, "what %s does with arguments", cmd.CommandPath())
		for _, child := range cmd.Commands() {
			visit(child)
		}
	}
	visit((&app{}).root())

	got := call(t, nil)
	require.Equal(t, exitDone, got.code)
	require.Equal(t, call(t, nil, "--help").stdout, got.stdout)
	for _, want := range []string{"Exit codes:", "DATABASE_URL", "SCHEDULER_CONFIG", "completion", "\n  serve "} {
		require.Contains(t, got.stdout, want)
	}
	require.Contains(t, call(t, nil, "run", "--help").stdout, "--param name=value")
}

// The commands of the examples are understood.
func TestExamplesAreUnderstood(t *testing.T) {
	t.Parallel()
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			line, _, _ = strings.Cut(line, "#")
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			line = regexp.MustCompile(`'[^']*'`).ReplaceAllString(line, "quoted")
			words := strings.Fields(line)
			for len(words) > 0 && words[0] != "scheduler" {
				words = words[1:] // variables
			}
			if len(words) == 0 {
				continue
			}
			found, rest, err := (&app{}).root().Find(words[1:])
			require.NoError(t, err, line)
			require.NoError(t, found.ParseFlags(rest), line)
			require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
			require.Contains(t, line, found.CommandPath())
		}
		for _, child := range cmd.Commands() {
			visit(child)
		}
	}
	visit((&app{}).root())
}

func TestReferenceIsUpToDate(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../../docs/reference/cli.md")
	require.NoError(t, err)
	require.Equal(t, reference((&app{}).root()), string(content), "run: go generate ./cmd/scheduler")
	content, err = os.ReadFile("../../../docs/reference/metrics.md")
	require.NoError(t, err)
	require.Equal(t, metrics.Reference(), string(content), "run: go generate ./cmd/scheduler")
}

func TestReferenceCommand(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a", "b")
	require.Equal(t, exitDone, call(t, nil, "reference", folder).code)
	ofMetrics, err := os.ReadFile(filepath.Join(folder, "metrics.md"))
	require.NoError(t, err)
	require.Contains(t, string(ofMetrics), "## scheduler_leader\n")
	written, err := os.ReadFile(filepath.Join(folder, "cli.md"))
	require.NoError(t, err)
	for _, want := range []string{"## scheduler serve\n", "## scheduler migrate down\n", "## scheduler completion\n", "DO NOT EDIT"} {
		require.Contains(t, string(written), want)
	}
	require.NotContains(t, string(written), "reference FOLDER")
	require.NotContains(t, string(written), "until-eof")
}

func TestCompletionWithoutDatabase(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"run", ""}, {"job", ""}, {"pause", ""}, {"resume", ""}, {"runs", "--job", ""}, {"reschedule", ""}, {"backfill", ""}, {"agenda", "--job", ""}} {
		got := call(t, map[string]string{"DATABASE_URL": nowhere}, append([]string{"__complete"}, args...)...)
		require.Equal(t, exitDone, got.code)
		for _, name := range []string{"cleanup_empty_contexts\t", "cleanup_inactive_sessions\t", "cleanup_job_runs\t", "database_cleanup\t"} {
			require.Contains(t, got.stdout, name, args)
		}
	}
	require.NotContains(t, call(t, nil, "__complete", "run", "database_cleanup", "").stdout, "cleanup", "only one argument")
	require.Contains(t, call(t, map[string]string{"DATABASE_URL": nowhere}, "__complete", "run", "database_cleanup", "--param", "").stdout, "mcp_executions=\t")
	require.Contains(t, call(t, map[string]string{"DATABASE_URL": nowhere}, "__complete", "backfill", "database_cleanup", "--param", "").stdout, "mcp_executions=\t")
	require.Contains(t, call(t, nil, "__complete", "runs", "--status", "").stdout, "retrying\n")
	require.Contains(t, call(t, nil, "__complete", "serve", "--log-format", "").stdout, "json\n")
	require.Contains(t, call(t, nil, "completion", "bash").stdout, "bash completion V2 for scheduler")
}

// A crontab is read without a database; what is written is never written over.
func TestImportCrontab(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	table, output := filepath.Join(folder, "crontab"), filepath.Join(folder, "jobs.yaml")
	require.NoError(t, os.WriteFile(table, []byte("*/5 * * * * /usr/bin/true\n@reboot x\n"), 0o600))
	got := call(t, nil, "import", "crontab", table)
	require.Equal(t, exitDone, got.code, got.stderr)
	require.Contains(t, got.stdout, "\n  - name: \"true\"\n")
	require.Equal(t, "scheduler: 2 jobs, 1 of them only as a comment\n", got.stderr)

	require.Equal(t, exitDone, call(t, nil, "import", "crontab", table, "--output", output).code)
	content, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, got.stdout, string(content))
	got = call(t, nil, "import", "crontab", table, "--output", output, "--timezone", "Europe/Berlin")
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.stderr, "is there already; name another file, or replace it with --force")
	again, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, content, again)
	require.Equal(t, exitDone, call(t, nil, "import", "crontab", table, "--output", output, "--timezone", "Europe/Berlin", "--force").code)
	again, err = os.ReadFile(output)
	require.NoError(t, err)
	require.Contains(t, string(again), "timezone: Europe/Berlin")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing else is left")

	for args, want := range map[string]string{
		"crontab " + filepath.Join(folder, "none"):       "no such file",
		"crontab " + folder:                              "read the crontab",
		"crontab " + table + " --timezone Local":         "--timezone: ",
		"crontab " + table + " --force":                  "--output, which is not given",
		"crontab " + table + " --output /none/jobs.yaml": "--output: ",
		"crontab": "needs a crontab",
		"":        "say from where",
		"anacron": `unknown command "anacron"`,
	} {
		got := call(t, nil, append([]string{"import"}, strings.Fields(args)...)...)
		require.Equal(t, exitRefused, got.code, args)
		require.Contains(t, got.stderr, want)
	}
}
