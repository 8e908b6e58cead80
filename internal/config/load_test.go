package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

// refusals are the messages of an error of Load, with the folder of path cut off.
func refusals(t *testing.T, err error, path string) []string {
	t.Helper()
	var errs config.Errors
	require.ErrorAs(t, err, &errs)
	text := err.Error()
	if path != "" {
		text = strings.ReplaceAll(text, filepath.Dir(path)+"/", "")
	}
	list := strings.Split(text, "\n")
	require.Len(t, list, len(errs), "one line for each")
	return list
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	const fields = "the configuration has: database_url, leader_database_url, schema, enabled, timezone, dry_run, max_workers, shutdown_timeout, bootstrap_jobs, migrate, log_lines, log_level, log_format, listen, http_token, http_basic_auth, http_read_only, only_listed_jobs, jobs"
	const jobFields = "a job has: name, enabled, schedule, timezone, parameters, overlap, catch_up, catch_up_limit, catch_up_max_age, timeout, max_attempts, dry_run, dry_run_for"
	const registered = "registered are: cleanup_empty_contexts, cleanup_inactive_sessions, cleanup_job_runs, database_cleanup"
	tests := []struct {
		name, file string
		want       []string
	}{
		{"unknown field", "schema: x\nmax_worker: 3\n", []string{
			`c.yaml:2:1: unknown field "max_worker"; ` + fields,
		}},
		{"unknown field of a job", "jobs:\n  - name: database_cleanup\n    shedule: x\n", []string{
			`c.yaml:3:5: unknown field "shedule"; ` + jobFields,
		}},
		{"unknown job", "jobs:\n  - name: nonsense\n    schedule: also not read\n", []string{
			`c.yaml:2:11: name: job "nonsense": unknown job; ` + registered,
		}},
		{"unknown bootstrap job", "bootstrap_jobs:\n  - database_cleanup\n  - nonsense\n", []string{
			`c.yaml:3:5: bootstrap_jobs: job "nonsense": unknown job; ` + registered,
		}},
		{"bad cron text", "jobs:\n  - name: database_cleanup\n    schedule: \"61 * * * *\"\n", []string{
			`c.yaml:3:15: schedule: job "database_cleanup": invalid schedule: cron text "61 * * * *": minute: `,
		}},
		{"bad durations", "shutdown_timeout: 5\njobs:\n  - name: database_cleanup\n    timeout: soon\n", []string{
			`c.yaml:1:19: shutdown_timeout: must be a duration such as "90s" or "1h30m", not the number 5`,
			`c.yaml:4:14: timeout: must be a duration such as "90s" or "1h30m", not "soon"`,
		}},
		{"bad rollout", "jobs:\n  - name: database_cleanup\n    dry_run_for: 7d\n  - name: cleanup_job_runs\n    dry_run_for: -1h\n", []string{
			`c.yaml:3:18: dry_run_for: must be a duration such as "168h", or 0 for none, not "7d"`,
			`c.yaml:5:18: dry_run_for: must be a duration such as "168h", or 0 for none, not "-1h"`,
		}},
		{"bad time zones", "timezone: Mars/Olympus\njobs:\n  - name: database_cleanup\n    timezone: Local\n", []string{
			`c.yaml:1:11: timezone: time zone "Mars/Olympus" is unknown`,
			`c.yaml:4:15: job "database_cleanup": timezone: time zone "Local" differs from machine to machine`,
		}},
		{"wrong types", strings.Join([]string{
			`schema: 12`, `enabled: yes`, `dry_run: "true"`, `max_workers: 1.5`, `bootstrap_jobs: database_cleanup`,
			`log_level: loud`, `log_format: [json]`, `migrate: {}`, `database_url: true`, `jobs: {}`,
		}, "\n"), []string{
			`c.yaml:1:9: schema: must be a string, not the number 12; put it between quotes: "12"`,
			`c.yaml:2:10: enabled: must be true or false, not "yes"`,
			`c.yaml:3:10: dry_run: must be true or false, not "true"`,
			`c.yaml:4:14: max_workers: must be a whole number, not the number 1.5`,
			`c.yaml:5:17: bootstrap_jobs must be a list, not "database_cleanup"`,
			`c.yaml:6:12: log_level: is "loud", must be one of: debug, info, warn, error`,
			`c.yaml:7:13: log_format: is a list, must be one of: text, json`,
			`c.yaml:8:10: migrate: must be true or false, not a mapping`,
			`c.yaml:9:15: database_url: must be a string, not the boolean true; put it between quotes: "true"`,
			`c.yaml:10:7: jobs must be a list, not a mapping`,
		}},
		{"numbers without meaning", "max_workers: 0\nshutdown_timeout: -1s\njobs:\n  - name: database_cleanup\n    max_attempts: 0\n    timeout: 0s\n", []string{
			`c.yaml:1:14: max_workers: is 0, must be at least 1; leave it out for the default, 10`,
			`c.yaml:2:19: shutdown_timeout: is -1s, must be longer than 0; leave it out for the default, 30s`,
			`c.yaml:5:19: max_attempts: is 0, must be at least 1; leave it out for the job's own`,
			`c.yaml:6:14: timeout: is 0s, must be longer than 0; leave it out for the job's own`,
		}},
		{"numbers too large", "max_workers: 10001\njobs:\n  - name: database_cleanup\n    max_attempts: 40000\n", []string{
			`c.yaml:1:14: max_workers: is 10001, must be between 1 and 10000`,
			`c.yaml:4:19: job "database_cleanup": max_attempts: is 40000, must be between 1 and 32767`,
		}},
		{"nothing after a colon", "schema:\ndatabase_url: ''\njobs:\n  - name: database_cleanup\n    schedule:\n", []string{
			`c.yaml:1:8: schema: has no value; leave it out for the default, scheduler`,
			`c.yaml:2:15: database_url: has no value; leave it out for the default, libpq's variables`,
			`c.yaml:5:14: schedule: has no value; leave it out for the job's own`,
		}},
		{"keys given twice", "schema: a\nschema: b\njobs:\n  - name: database_cleanup\n    timeout: 1h\n    timeout: 2h\n    parameters:\n      log_retention_days: 1\n      log_retention_days: 2\n", []string{
			`c.yaml:2:1: "schema" is given twice; the first is in line 1`,
			`c.yaml:6:5: "timeout" is given twice; the first is in line 5`,
			`c.yaml:9:7: "log_retention_days" is given twice; the first is in line 8`,
		}},
		{"a job given twice", "jobs:\n  - name: database_cleanup\n  - name: database_cleanup\n", []string{
			`c.yaml:3:11: job "database_cleanup" is configured twice, the first time in line 2; merge the two entries`,
		}},
		{"jobs without a name", "jobs:\n  - enabled: false\n  - name: 7\n  - database_cleanup\n  -\n", []string{
			`c.yaml:2:5: the job has no name; give it one, such as: name: database_cleanup`,
			`c.yaml:3:11: name: must be a string, not the number 7; put it between quotes: "7"`,
			`c.yaml:4:5: a job must be a mapping, not "database_cleanup"`,
			`c.yaml:5:4: a job must be a mapping, not empty`,
		}},
		{"bad parameters", strings.Join([]string{
			"jobs:",
			"  - name: database_cleanup",
			"    parameters:",
			"      log_retention_days: 0",
			"      log_retention_day: 3",
			"      system_user_ids: system",
			"      mcp_executions: 2026-01-01",
			"  - name: cleanup_empty_contexts",
			"    parameters: [1]",
			"  - name: cleanup_inactive_sessions",
			"    parameters: {inactive_hours: a lot}",
		}, "\n"), []string{
			`c.yaml:4:27: parameters.log_retention_days: job "database_cleanup": parameter "log_retention_days": is 0, must be at least 1`,
			`c.yaml:5:26: parameters.log_retention_day: job "database_cleanup": parameter "log_retention_day": unknown; the job has: log_retention_days, system_user_ids, mcp_executions`,
			`c.yaml:6:24: parameters.system_user_ids: job "database_cleanup": parameter "system_user_ids": must be a list of strings, not the string "system"`,
			`c.yaml:7:23: parameters.mcp_executions: job "database_cleanup": parameter "mcp_executions": is "2026-01-01", must be one of: delete, keep`,
			`c.yaml:9:17: parameters must be a mapping, not a list`,
			`c.yaml:11:34: parameters.inactive_hours: job "cleanup_inactive_sessions": parameter "inactive_hours": must be a whole number, not the string "a lot"`,
		}},
		{"unknown policies", "jobs:\n  - name: database_cleanup\n    overlap: maybe\n    catch_up: never\n", []string{
			`c.yaml:3:14: job "database_cleanup": overlap: is "maybe", must be one of `,
			`c.yaml:4:15: job "database_cleanup": catch_up: is "never", must be one of `,
		}},
		{"bad database URLs and schema", "database_url: postgres://u:secret@[x/d\nleader_database_url: port=a\nschema: public\n", []string{
			`c.yaml:1:15: database_url: cannot parse `,
			`c.yaml:2:22: leader_database_url: cannot parse `,
			`c.yaml:3:9: schema: schema "public" belongs to the application`,
		}},
		{"a root that is no mapping", "- a\n", []string{`c.yaml:1:1: the configuration must be a mapping, not a list`}},
		{"keys that are no strings", "1: 2\n[a]: 3\n", []string{
			`c.yaml:1:1: the configuration: a key must be a string, not the number 1`,
			`c.yaml:2:1: the configuration: a key must be a string, not a list`,
		}},
		{"two documents", "schema: a\n---\nschema: b\n", []string{`c.yaml:2:1: a second document begins here; a configuration is one`}},
		{"cron text without quotes", "jobs:\n  - name: database_cleanup\n    schedule: */5 * * * *\n", []string{
			`c.yaml:3: did not find expected alphabetic or numeric character; put cron text between quotes, such as "*/5 * * * *"`,
		}},
		{"a name with an at sign without quotes", "jobs:\n  - name: database_cleanup\n    schedule: @hourly\n", []string{
			`c.yaml:3: found character that cannot start any token; put cron text between quotes, such as "*/5 * * * *"`,
		}},
		{"wrong indentation", "jobs:\n  - name: database_cleanup\n    enabled: true\n   timeout: 1h\n", []string{`c.yaml:4: did not find expected `}},
		{"a tab", "schema: a\n\tmigrate: true\n", []string{`c.yaml:2: found a tab character`}},
		{"two colons", "schema: a: b\n", []string{`c.yaml:1: mapping values are not allowed in this context`}},
		{"an open bracket", "schema: x\nbootstrap_jobs: [a\n", []string{`c.yaml:2: did not find expected ',' or ']'`}},
		{"an open quote", "schema: x\ntimezone: \"UTC\nmigrate: true\n", []string{`c.yaml:2: found unexpected end of stream`}},
		{"a mistake in a second document", "schema: x\n---\n}\n", []string{`c.yaml:3: did not find expected node content`}},
		{"an unknown anchor", "schema: a\ndatabase_url: *url\n", []string{`c.yaml:2: unknown anchor 'url' referenced`}},
		{"an anchor that contains itself", "jobs:\n  - &a\n    name: database_cleanup\n    parameters: &p\n      log_retention_days: *p\n  - &b\n    name: cleanup_job_runs\n    <<: *b\n", []string{
			`c.yaml:5:27: parameters.log_retention_days: anchor 'p' value contains itself`,
			`c.yaml:8:9: a job: the anchor "b" contains itself`,
		}},
		{"the same mistake by two aliases", "jobs:\n  - &a\n    name: database_cleanup\n    timeout: x\n  - <<: *a\n    name: cleanup_job_runs\n", []string{
			`c.yaml:4:14: timeout: must be a duration`,
		}},
		{"everything at once, in the order of the lines", "schema: public\nnonsense: 1\njobs:\n  - name: unknown\n  - name: database_cleanup\n    schedule: x\n", []string{
			`c.yaml:1:9: schema: `, `c.yaml:2:1: unknown field "nonsense"`, `c.yaml:4:11: name: job "unknown": unknown job`, `c.yaml:6:15: schedule: `,
		}},
		{"an image", "\x89PNG\r\n\x1a\n\x00\x00", []string{`--config: c.yaml: is not a text file in UTF-8; is it the right file?`}},
		{"control characters", "schema: a\x01\n", []string{`--config: c.yaml: is not a text file in UTF-8; is it the right file?`}},
		{"a huge file", strings.Repeat("# comment\n", 500_000), []string{`--config: c.yaml: is larger than 4096 KiB; is it the right file?`}},
		{"many brackets", strings.Repeat("[", 100_000), []string{`c.yaml:1: `}},
		{"a bomb of aliases", bomb(), []string{`parameters.system_user_ids: document contains excessive aliasing`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, test.file)
			_, err := config.Load(config.Source{Path: path})
			got := refusals(t, err, path)
			require.Len(t, got, len(test.want), strings.Join(got, "\n"))
			for i, want := range test.want {
				require.Contains(t, got[i], want)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func bomb() string {
	var b strings.Builder
	b.WriteString("jobs:\n  - name: database_cleanup\n    parameters:\n      system_user_ids:\n      - &a0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n")
	for i := range 9 {
		before, name := string(rune('0'+i)), string(rune('1'+i))
		b.WriteString("      - &a" + name + " [" + strings.TrimSuffix(strings.Repeat("*a"+before+", ", 10), ", ") + "]\n")
	}
	return b.String()
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":                         "",
		"only comments":                 "# nothing\n\n# at all\n",
		"null":                          "null\n",
		"document marks":                "---\nschema: scheduler\n...\n",
		"a byte order mark":             "\ufeffschema: scheduler\n",
		"carriage returns":              "schema: scheduler\r\nlog_level: info\r\n",
		"lists and maps with nothing":   "jobs:\nbootstrap_jobs:\n",
		"parameters with nothing":       "jobs:\n  - name: database_cleanup\n    parameters:\n",
		"parameters of their own types": "jobs:\n  - name: database_cleanup\n    parameters: {log_retention_days: 30, system_user_ids: [system], mcp_executions: delete}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, effectiveOf(t, config.Source{}), effectiveOf(t, config.Source{Path: write(t, content)}))
		})
	}
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	settings, err := config.Load(config.Source{Path: write(t, `
timezone: &zone Europe/Berlin
jobs:
  - &base
    name: database_cleanup
    timezone: *zone
    timeout: 10m
    parameters: &parameters
      log_retention_days: 7
  - <<: *base
    name: cleanup_job_runs
    timeout: 20m
    parameters: {retention_days: 7}
  - <<: [*base]
    name: cleanup_empty_contexts
    parameters: {}
`)})
	require.NoError(t, err)
	require.Equal(t, []scheduler.JobConfig{
		{Name: "database_cleanup", TimeZone: "Europe/Berlin", Timeout: 10 * time.Minute, Parameters: map[string]any{"log_retention_days": 7}},
		{Name: "cleanup_job_runs", TimeZone: "Europe/Berlin", Timeout: 20 * time.Minute, Parameters: map[string]any{"retention_days": 7}},
		{Name: "cleanup_empty_contexts", TimeZone: "Europe/Berlin", Timeout: 10 * time.Minute, Parameters: map[string]any{}},
	}, settings.Scheduler.Jobs)
}

func TestNoFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, test := range []struct {
		source config.Source
		want   string
	}{
		{config.Source{Path: "/nonexistent/c.yaml"}, "--config: /nonexistent/c.yaml: no such file or directory"},
		{config.Source{Path: folder}, "--config: " + folder + ": is a directory"},
		{config.Source{LookupEnvFunc: environment(map[string]string{"SCHEDULER_CONFIG": "/nonexistent/c.yaml"})}, "SCHEDULER_CONFIG: /nonexistent/c.yaml: no such file or directory"},
	} {
		_, err := config.Load(test.source)
		require.EqualError(t, err, test.want)
	}
	_, err := config.Load(config.Source{Path: "/nonexistent/c.yaml"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Every setting but the jobs can be a variable and a flag, and a flag wins over a
// variable, and that over the file.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	values := map[string][3]string{ // file, variable, flag
		"database_url":        {"host=file", "host=variable", "host=flag"},
		"leader_database_url": {"host=file", "host=variable", "host=flag"},
		"schema":              {"file", "variable", "flag"},
		"enabled":             {"false", "true", "false"},
		"timezone":            {"Europe/Berlin", "Europe/Paris", "Europe/Rome"},
		"dry_run":             {"true", "false", "true"},
		"max_workers":         {"1", "2", "3"},
		"shutdown_timeout":    {"1s", "2s", "3s"},
		"bootstrap_jobs":      {"[database_cleanup]", "cleanup_job_runs, database_cleanup", ""},
		"migrate":             {"true", "false", "true"},
		"log_lines":           {"5", "0", "1000"},
		"log_level":           {"debug", "warn", "error"},
		"log_format":          {"json", "text", "json"},
		"listen":              {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
		"http_token":          {"of-the-file", "of-the-variable", "of-the-flag"},
		"http_basic_auth":     {"file:secret", "variable:secret", "flag:secret"},
		"http_read_only":      {"true", "false", "true"},
		"only_listed_jobs":    {"true", "false", "true"},
	}
	want := map[string][3]string{"bootstrap_jobs": {"[database_cleanup]", "[cleanup_job_runs database_cleanup]", "[]"}}
	for _, field := range config.Fields() {
		t.Run(field.Name, func(t *testing.T) {
			t.Parallel()
			value, ok := values[field.Name]
			require.True(t, ok, "the test knows the field")
			expect, ok := want[field.Name]
			if !ok {
				expect = value
			}
			content := field.Name + ": " + value[0] + "\n"
			if strings.HasPrefix(value[0], "host=") {
				content = field.Name + ": \"" + value[0] + "\"\n"
			}
			source := config.Source{Path: write(t, content)}
			for i := range 3 {
				switch i {
				case 1:
					source.LookupEnvFunc = environment(map[string]string{field.Variable(): value[1]})
				case 2:
					source.Flags = map[string]string{field.Name: value[2]}
				}
				settings, err := config.Load(source)
				require.NoError(t, err)
				require.Equal(t, strings.ToLower(expect[i]), strings.ToLower(field.Text(settings)))
				origin := settings.Origin(field.Name)
				require.Equal(t, [3]string{source.Path + ":1:" + column(field.Name), field.Variable(), "--" + field.Flag()}[i], origin.String())
			}
		})
	}
}

func column(name string) string {
	if name == "bootstrap_jobs" {
		return "1"
	}
	return strconv.Itoa(len(name) + 3)
}

func TestVariables(t *testing.T) {
	t.Parallel()
	settings, err := config.Load(config.Source{LookupEnvFunc: environment(map[string]string{"DATABASE_URL": "host=a", "SCHEDULER_SCHEMA": ""})})
	require.NoError(t, err)
	require.Equal(t, "host=a", settings.Scheduler.DatabaseURL)
	require.Equal(t, "DATABASE_URL", settings.Origin("database_url").String())
	require.False(t, settings.Origin("schema").IsSet(), "a variable that is set to nothing counts as not set")

	settings, err = config.Load(config.Source{LookupEnvFunc: environment(map[string]string{"DATABASE_URL": "host=a", "SCHEDULER_DATABASE_URL": "host=b"})})
	require.NoError(t, err)
	require.Equal(t, "host=b", settings.Scheduler.DatabaseURL, "the scheduler's own variable wins")

	_, err = config.Load(config.Source{
		Path: write(t, "max_workers: x\n"),
		LookupEnvFunc: environment(map[string]string{
			"DATABASE_URL": "host=a port=b", "SCHEDULER_SHUTDOWN_TIMEOUT": "5", "SCHEDULER_ENABLED": "yes", "SCHEDULER_MAX_WORKERS": "0",
			"SCHEDULER_BOOTSTRAP_JOBS": "nonsense", "SCHEDULER_LOG_LEVEL": "loud", "SCHEDULER_SCHEMA": "public",
		}),
		Flags: map[string]string{"timezone": "Mars", "leader_database_url": "port=c"},
	})
	got := refusals(t, err, "")
	require.Len(t, got, 10)
	for i, want := range []string{
		"c.yaml:1:14: max_workers: must be a whole number, not \"x\"",
		"SCHEDULER_ENABLED: must be true or false, not \"yes\"",
		"SCHEDULER_MAX_WORKERS: is 0, must be at least 1",
		"SCHEDULER_SHUTDOWN_TIMEOUT: must be a duration such as",
		"SCHEDULER_LOG_LEVEL: is \"loud\", must be one of: debug, info, warn, error",
		"SCHEDULER_BOOTSTRAP_JOBS: job \"nonsense\": unknown job",
		"SCHEDULER_SCHEMA: schema \"public\" belongs to the application",
		"DATABASE_URL: cannot parse",
		"--leader-database-url: cannot parse",
		"--timezone: time zone \"Mars\" is unknown",
	} {
		require.Contains(t, got[i], want)
	}
}

// What libpq's own variables say wrongly has no place of its own.
func TestDefaultsThatAreRefused(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Source{Registry: &jobs.Registry{}, Flags: map[string]string{"bootstrap_jobs": "database_cleanup"}})
	require.EqualError(t, err, `--bootstrap-jobs: job "database_cleanup": unknown job; registered are: `)
	require.ErrorIs(t, err, jobs.ErrUnknownJob)
}

func TestDryRunEverywhere(t *testing.T) {
	t.Parallel()
	path := write(t, "dry_run: true\njobs:\n  - name: database_cleanup\n    dry_run: false\n")
	settings, err := config.Load(config.Source{Path: path})
	require.NoError(t, err)
	require.False(t, *settings.Scheduler.Jobs[0].DryRun, "in the file the job's own wins")
	for _, source := range []config.Source{
		{Path: path, Flags: map[string]string{"dry_run": "true"}},
		{Path: path, LookupEnvFunc: environment(map[string]string{"SCHEDULER_DRY_RUN": "true"})},
	} {
		settings, err := config.Load(source)
		require.NoError(t, err)
		require.Nil(t, settings.Scheduler.Jobs[0].DryRun)
		require.True(t, settings.Scheduler.DryRun)
	}
}

func TestErrorsAreReachable(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Source{Path: write(t, "jobs:\n  - name: database_cleanup\n    parameters: {x: 1}\n")})
	var one *config.Error
	require.ErrorAs(t, err, &one)
	require.Equal(t, 3, one.Origin.Line)
	require.ErrorIs(t, err, jobs.ErrInvalidParameter)
	var field *scheduler.ConfigError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "parameters.x", field.Field)
}

func TestLogSettings(t *testing.T) {
	t.Parallel()
	settings, err := config.Load(config.Source{})
	require.NoError(t, err)
	require.Equal(t, slog.LevelInfo, settings.LogLevel)
	require.Equal(t, config.LogFormatText, settings.LogFormat)
	settings, err = config.Load(config.Source{Path: write(t, "log_level: debug\nlog_format: json\n")})
	require.NoError(t, err)
	require.Equal(t, slog.LevelDebug, settings.LogLevel)
	require.Equal(t, config.LogFormatJSON, settings.LogFormat)
}

// Zero is how a rollout is switched off, unlike elsewhere.
func TestNoRollout(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "0s", `"0"`} {
		settings, err := config.Load(config.Source{Path: write(t, "jobs:\n  - name: database_cleanup\n    dry_run_for: "+text+"\n")})
		require.NoError(t, err, text)
		require.Zero(t, settings.Scheduler.Jobs[0].DryRunFor)
	}
}
