package config_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/jobs"
)

func TestDeclaredParameters(t *testing.T) {
	t.Parallel()
	settings, err := config.Load(config.Source{Path: write(t, `
jobs:
  - name: all
    schedule: "@daily"
    timeout: 10m
    parameters:
      whole: 7
      number: 0.5
      yes: true
      text: "0"
      wait: 90s
      list: [a, b]
      date: 2026-01-01
      bounded: {default: 5, minimum: 1, maximum: 9, description: How many.}
      chosen: {type: string, default: 5m, enum: [5m, 10m]}
    sql: SELECT @whole, @number, @yes, @text, @wait, @list, @date, @bounded, @chosen
`)})
	require.NoError(t, err)
	job, err := settings.Scheduler.Registry.Get("all")
	require.NoError(t, err)
	types := make(map[string]jobs.ParameterType)
	for _, p := range job.Definition().Parameters {
		types[p.Name] = p.Type
		require.True(t, p.OmitDefault)
	}
	require.Equal(t, map[string]jobs.ParameterType{
		"whole": jobs.TypeInteger, "number": jobs.TypeNumber, "yes": jobs.TypeBoolean, "text": jobs.TypeString, "wait": jobs.TypeDuration,
		"list": jobs.TypeStrings, "date": jobs.TypeString, "bounded": jobs.TypeInteger, "chosen": jobs.TypeString,
	}, types)
	resolved, err := jobs.Resolve(job.Definition())
	require.NoError(t, err)
	require.Equal(t, 90*time.Second, resolved["wait"])
	require.Equal(t, "2026-01-01", resolved["date"])
	_, err = jobs.Resolve(job.Definition(), map[string]any{"bounded": 10})
	require.ErrorContains(t, err, "at most 9")
	require.Equal(t, []scheduler.JobConfig{{Name: "all", Schedule: "@daily", Timeout: 10 * time.Minute, Parameters: map[string]any{}}}, settings.Scheduler.Jobs)
}

func TestBadDeclaredJobs(t *testing.T) {
	t.Parallel()
	entry := func(rest string) string { return "jobs:\n  - name: a\n    schedule: \"@daily\"\n    " + rest }
	const kinds = "sql, sql_outside_transaction, http, exec"
	tests := []struct {
		name, file string
		want       []string
	}{
		{"two kinds", entry("sql: SELECT 1\n    exec: [ls]\n"), []string{`c.yaml:5:11: job "a" is declared as sql and as exec; a job is one of: ` + kinds}},
		{"no schedule", "jobs:\n  - name: a\n    sql: SELECT 1\n", []string{`c.yaml:2:11: job "a" has no schedule; a declared job needs one`}},
		{"a bad schedule", "jobs:\n  - name: a\n    schedule: \"61 * * * *\"\n    sql: SELECT 1\n", []string{`c.yaml:3:15: job "a": invalid schedule: cron text "61 * * * *": minute`}},
		{"a schedule that is no text", "jobs:\n  - name: a\n    schedule: 5\n    sql: SELECT 1\n", []string{`c.yaml:3:15: schedule: must be a string`}},
		{"a bad name", "jobs:\n  - name: Täglich\n    schedule: \"@daily\"\n    sql: SELECT 1\n", []string{`c.yaml:2:11: job "Täglich": invalid job: a name is lower-case letters`}},
		{"the name of a job of the program", "jobs:\n  - name: database_cleanup\n    schedule: \"@daily\"\n    sql: SELECT 1\n", []string{`c.yaml:2:11: job "database_cleanup": duplicate job: the program has a job of that name`}},
		{"a name twice", entry("sql: SELECT 1\n") + "  - name: a\n    schedule: \"@daily\"\n    sql: SELECT 2\n", []string{`c.yaml:5:11: job "a" is configured twice, the first time in line 2`}},
		{"a description of a job of the program", "jobs:\n  - name: database_cleanup\n    description: x\n", []string{`c.yaml:3:18: description: only a declared job has one`}},
		{"other settings are checked, too", entry("timezone: Mars\n    overlap: maybe\n    sql: SELECT 1\n"), []string{`c.yaml:4:15: job "a": timezone: `, `c.yaml:5:14: job "a": overlap: is "maybe"`}},
		{"a bootstrap job that is broken is named once", "bootstrap_jobs: [a]\n" + entry("sql: COMMIT\n"), []string{`c.yaml:5:10: job "a": sql.statement_1: COMMIT is about transactions`}},

		{"no statement", entry("sql:\n"), []string{`c.yaml:4:9: job "a": sql: has no statement`}},
		{"a statement that is empty", entry("sql: ['']\n"), []string{`c.yaml:4:11: job "a": sql.statement_1: is empty`}},
		{"a mapping for a statement", entry("sql: [{name: x}]\n"), []string{`c.yaml:4:11: sql: the statement has no text`}},
		{"an empty list", entry("sql: []\n"), []string{`c.yaml:4:10: job "a": sql: has no statement`}},
		{"a statement that is a number", entry("sql: [SELECT 1, 7]\n"), []string{`c.yaml:4:21: sql.statement_2: must be a SQL statement, not the number 7`}},
		{"a statement with NUL", entry(`sql: "SELECT '\0'"` + "\n"), []string{`c.yaml:4:10: job "a": sql.statement_1: holds a NUL character`}},
		{"unknown keys", entry("sql: {statement: SELECT 1}\n"), []string{`c.yaml:4:10: sql: has no statements`, `c.yaml:4:11: unknown field "statement"; sql has: statements, check`}},
		{"a name of a statement twice", entry("sql:\n      - {name: x, statement: SELECT 1}\n      - {name: x, statement: SELECT 2}\n"), []string{`c.yaml:6:30: job "a": sql.x: two statements have the name "x"`}},
		{"an unknown argument", entry("parameters: {days: 3}\n    sql: |\n      SELECT\n        @days + @dayz\n"), []string{`c.yaml:7:17: job "a": sql.statement_1: @dayz is not known; declare it in parameters, or use one of @now, @tick, @run_id, @days`}},
		{"an unused parameter", entry("parameters:\n      days: 3\n    sql: SELECT 1\n"), []string{`c.yaml:5:13: job "a": parameters.days: no statement uses @days`}},
		{"bad parameters", entry("parameters:\n      a:\n      b: [1, 2]\n      c: [[x]]\n      D: 1\n      e: {default: 5, maximum: 3}\n      f: {type: date, default: x}\n      g: {minimum: 1}\n      h: {default: 1, most: 3}\n    sql: SELECT @a, @b, @c, @D, @e, @f, @g, @h\n"), []string{
			`c.yaml:5:9: parameters.a: is empty, must be a number`, `c.yaml:10:17: parameters.f.type: is "date", must be one of: integer, number`,
			`c.yaml:11:10: parameters.g: has no default`, `c.yaml:12:23: unknown field "most"`,
		}},
		{"parameters that do not fit", entry("parameters: {b: [1, 2], e: {default: 5, maximum: 3}, giant: 123456789012345678901234567890, inf: .inf, D: 1}\n    sql: SELECT @b, @e, @giant, @inf, @D\n"), []string{
			`c.yaml:4:111: job "a": parameter "D": a name is lower-case letters`,
		}},
		{"values that do not fit", entry("parameters: {b: [1, 2], e: {default: 5, maximum: 3}, n: 9007199254740994, inf: .inf}\n    sql: SELECT @b, @e, @n, @inf\n"), []string{
			`c.yaml:4:21: job "a": parameter "b": default: must be a list of strings, but holds the number 1`,
			`c.yaml:4:32: job "a": parameter "e": default: is 5, must be at most 3`,
			`c.yaml:4:61: job "a": parameter "n": default: must be a whole number`,
			`c.yaml:4:84: job "a": parameter "inf": default: must be a number`,
		}},

		{"several statements outside", entry("sql_outside_transaction: [VACUUM a, VACUUM b]\n"), []string{`c.yaml:4:30: sql_outside_transaction: is a list, must be one statement; each other one is a job of its own`}},
		{"a request", entry("http:\n      url: ftp://user:hidden@x\n      method: post\n      headers: {A: 1, Webhook-Id: x}\n      timeout: 0s\n      success: [ok]\n      secret: hidden\n"), []string{
			`c.yaml:7:20: http.headers.A: must be a string, not the number 1`, `c.yaml:8:16: http.timeout: is 0s, must be longer than 0; leave it out for the default, 30s`,
			`c.yaml:9:17: http.success: must be a whole number, not "ok"`, `c.yaml:10:7: unknown field "secret"; http has: url, method, headers, body, timeout, success, secret_variable, header_variables`,
		}},
		{"another request", entry("http:\n      url: ftp://user:hidden@x\n      method: post\n      headers: {Webhook-Id: x}\n"), []string{
			`c.yaml:5:12: job "a": http.url: is no address of HTTP`, `c.yaml:6:15: job "a": http.method: "post" is no method`, `c.yaml:7:29: job "a": http.headers.Webhook-Id: "Webhook-Id" is set by the request itself`,
		}},
		{"a request that is a text", entry("http: https://example.com\n"), []string{`c.yaml:4:11: http must be a mapping, not "https://example.com"`}},
		{"a command that is a text", entry("exec: rm -rf /\n"), []string{`c.yaml:4:11: exec must be a list, not "rm -rf /"`}},
		{"a command", entry("exec: {command: [./x, 5], env: {SCHEDULER_JOB: x}, directory: here, grace: 1h}\n"), []string{
			`c.yaml:4:27: exec.command: must be a string, not the number 5`,
		}},
		{"another command", entry("exec: {command: [./x], env: {SCHEDULER_JOB: x}}\n"), []string{`c.yaml:4:21: job "a": exec.command: "./x" is relative`}},
		{"a variable with a sign", entry("exec: {command: [ls], env: {A=B: x}}\n"), []string{`job "a": exec.env.A=B: "A=B" is no name of a variable`}},
		{"more of a command", entry("exec: {command: [ls], env: {SCHEDULER_JOB: x}, directory: here, grace: 1h}\n"), []string{
			`c.yaml:4:48: job "a": exec.env.SCHEDULER_JOB: the names that begin`, `c.yaml:4:63: job "a": exec.directory: "here" is not an absolute path`, `c.yaml:4:76: job "a": exec.grace: is 1h0m0s`,
		}},
		{"an anchor that contains itself", entry("sql: &a [*a]\n"), []string{`c.yaml:4:14: sql.statement_1: must be a SQL statement, not a list`}},
		{"a mapping that merges itself", entry("http: &h\n      <<: *h\n      url: https://example.com\n"), []string{`c.yaml:5:11: http: the anchor "h" contains itself`}},
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
			require.NotContains(t, err.Error(), "hidden")
		})
	}
}

// Five hundred jobs are read, and refused one by one, in no time that somebody notices.
func TestManyDeclaredJobs(t *testing.T) {
	t.Parallel()
	for text, mistakes := range map[string]int{"SELECT @now": 0, "COMMIT": 500, "SELECT @x": 500} {
		var b strings.Builder
		b.WriteString("jobs:\n")
		for i := range 500 {
			fmt.Fprintf(&b, "  - name: job_%d\n    schedule: \"@every 1s\"\n    timezone: Europe/Berlin\n    sql: %s\n", i, text)
		}
		began := time.Now()
		settings, err := config.Load(config.Source{Path: write(t, b.String())})
		require.Less(t, time.Since(began), 20*time.Second)
		if mistakes == 0 {
			require.NoError(t, err)
			require.Len(t, settings.Scheduler.Registry.List(), 504)
			continue
		}
		var errs config.Errors
		require.ErrorAs(t, err, &errs)
		require.Len(t, errs, mistakes)
		require.Equal(t, 5, errs[0].Origin.Line)
	}
	// Mistakes that only scheduler.New finds.
	var b strings.Builder
	b.WriteString("jobs:\n")
	for i := range 500 {
		fmt.Fprintf(&b, "  - name: job_%d\n    schedule: \"@every 1s\"\n    overlap: maybe\n    sql: SELECT 1\n", i)
	}
	began := time.Now()
	_, err := config.Load(config.Source{Path: write(t, b.String())})
	require.Less(t, time.Since(began), 20*time.Second)
	var errs config.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, 500)
}

// Credentials are in the environment, and needed only where a replica starts.
func TestDeclaredCredentials(t *testing.T) {
	t.Parallel()
	path := write(t, "jobs:\n  - name: a\n    schedule: \"@daily\"\n    http: {url: https://example.com, secret_variable: HOOK, header_variables: {Authorization: AUTH}}\n")
	for name, test := range map[string]struct {
		variables map[string]string
		says      string
	}{
		"nothing":    {nil, ":4:55: job \"a\": http.secret_variable: the environment has no variable HOOK"},
		"no secret":  {map[string]string{"HOOK": "hidden", "AUTH": "x"}, ":4:55: job \"a\": http.secret_variable: the secret must be whsec_"},
		"no header":  {map[string]string{"HOOK": "whsec_" + strings.Repeat("QUJD", 10)}, "http.header_variables.Authorization: the environment has no variable AUTH"},
		"bad header": {map[string]string{"HOOK": "whsec_" + strings.Repeat("QUJD", 10), "AUTH": "hidden\n"}, "http.header_variables.Authorization: \"Authorization\" has a value that a header cannot have"},
		"everything": {map[string]string{"HOOK": "whsec_" + strings.Repeat("QUJD", 10), "AUTH": "x"}, ""},
	} {
		settings, err := config.Load(config.Source{Path: path, LookupEnvFunc: environment(test.variables)})
		require.NoError(t, err, name)
		job, err := settings.Scheduler.Registry.Get("a")
		require.NoError(t, err)
		err = job.(jobs.Checker).Check(t.Context(), &jobs.Run{})
		if test.says == "" {
			require.NoError(t, err, name)
			continue
		}
		var part *jobs.FieldError
		require.ErrorAs(t, err, &part, name)
		located := settings.Locate(&scheduler.ConfigError{Job: "a", Field: part.Field, Err: part.Err})
		require.ErrorContains(t, located, test.says, name)
		require.NotContains(t, located.Error(), "hidden")
	}
}

// Anchors that merge anchors are gone through once each.
func TestMergeBomb(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("jobs:\n  - &a0\n    name: cleanup_job_runs\n    timeout: 10m\n")
	for i := range 30 {
		fmt.Fprintf(&b, "  - &a%d\n    <<: [%s]\n    name: x%d\n    schedule: \"@daily\"\n    sql: SELECT 1\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), ", "), i)
	}
	began := time.Now()
	settings, err := config.Load(config.Source{Path: write(t, b.String())})
	require.NoError(t, err)
	require.Less(t, time.Since(began), 20*time.Second)
	require.Equal(t, 10*time.Minute, settings.Scheduler.Jobs[30].Timeout)
}

// What docs/declared-jobs.md shows can be loaded.
func TestDocumentedDeclaredJobs(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/declared-jobs.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1)
	require.GreaterOrEqual(t, len(blocks), 5)
	for _, block := range blocks {
		files := []string{block[1]}
		switch {
		case strings.HasPrefix(block[1], "  - name"):
			files[0] = "jobs:\n" + block[1]
		case strings.HasPrefix(block[1], "    "): // several ways to write one key
			key, _, _ := strings.Cut(block[1], ":")
			files = nil
			for _, way := range strings.Split(block[1], key+":")[1:] {
				files = append(files, "jobs:\n  - name: a\n    schedule: \"@daily\"\n    parameters: {keep: 720h}\n"+key+":"+way)
			}
		}
		for _, file := range files {
			if !strings.Contains(file, "@keep") {
				file = strings.Replace(file, "    parameters: {keep: 720h}\n", "", 1)
			}
			_, err := config.Load(config.Source{Path: write(t, file)})
			require.NoError(t, err, file)
		}
	}
}
