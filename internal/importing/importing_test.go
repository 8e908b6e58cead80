package importing_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/importing"
	"github.com/systempromptio/scheduler/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checker reads a configuration as "serve" does.
func checker(t interface{ TempDir() string }) func([]byte) error {
	path := filepath.Join(t.TempDir(), "c.yaml")
	return func(content []byte) error {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
		_, err := config.Load(config.Source{Path: path, Registry: &jobs.Registry{}})
		return err
	}
}

// entry is a job as it stands in the file.
type entry struct {
	Name, Description, Schedule, Timezone string
	Enabled                               *bool
	SQL, Outside                          any
	Exec                                  struct {
		Command []string
		Env     map[string]string
	}
}

// written writes jobs, and reads them again.
func written(t *testing.T, list []importing.Job, header ...string) (importing.Written, []entry) {
	t.Helper()
	w, err := importing.Write(list, importing.Options{Header: header, Taken: []string{"taken"}, CheckFunc: checker(t)})
	require.NoError(t, err)
	var file struct{ Jobs []entry }
	require.NoError(t, yaml.Unmarshal(w.Content, &file))
	return w, file.Jobs
}

func TestCrontab(t *testing.T) {
	t.Parallel()
	list, notes := importing.Crontab([]byte(`# Not of a job.

SHELL = /bin/bash
"PATH"='/usr/local/bin:/usr/bin'
MAILTO=""
HOME=$PWD
# Backs up,
#   every night: see "runbook" #42
15 2 * * *	pg_dump app > /backup/$(date +\%F)
#0 5 * * * /old/thing
*/5 8-18/2 * jan-MAR mon-fri  cd /var/www && ./run.sh # x
@Daily php /srv/cron.php
0 9 * * 7 mail bob%Dear Bob,%it is 100\% done.
CRON_TZ=Europe/Berlin
FOO=bar
30 4 1,15 * 5 FOO=baz /usr/bin/backup.sh
`), false, "")
	require.Len(t, notes, 2)
	require.Contains(t, notes[0], "MAILTO=")
	require.Contains(t, notes[1], "HOME=$PWD")
	w, jobs := written(t, list)
	require.Zero(t, w.Refused)
	require.Len(t, jobs, 5)
	require.Equal(t, "pg_dump", jobs[0].Name)
	require.Equal(t, `Backs up, every night: see "runbook" #42`, jobs[0].Description)
	require.Equal(t, []string{"/bin/bash", "-c", "pg_dump app > /backup/$(date +%F)"}, jobs[0].Exec.Command)
	require.Equal(t, map[string]string{"SHELL": "/bin/bash", "PATH": "/usr/local/bin:/usr/bin", "HOME": "$PWD"}, jobs[0].Exec.Env)
	require.Equal(t, "*/5 8-18/2 * jan-MAR mon-fri", jobs[1].Schedule)
	require.Equal(t, "run", jobs[1].Name)
	require.Empty(t, jobs[1].Description)
	require.Contains(t, string(w.Content), "is not imported: 0 5 * * * /old/thing")
	require.Equal(t, "@Daily", jobs[2].Schedule)
	require.Equal(t, []string{"/bin/sh", "-c", `printf '%s\n' "$1" | "$2" -c "$3"`, "sh", "Dear Bob,\nit is 100% done.", "/bin/bash", "mail bob"}, jobs[3].Exec.Command)
	require.Equal(t, "Europe/Berlin", jobs[4].Timezone)
	require.Equal(t, "bar", jobs[4].Exec.Env["FOO"])
	require.Equal(t, "backup", jobs[4].Name)
}

func TestCrontabOfTheSystem(t *testing.T) {
	t.Parallel()
	list, notes := importing.Crontab([]byte("\uFEFF17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\r\n@daily www-data /usr/bin/php /x.php\r\n0 0 * * * root\r\n"), true, "Asia/Kolkata")
	require.Len(t, notes, 1, "about the ends of the lines")
	w, jobs := written(t, list)
	require.Equal(t, 1, w.Refused)
	require.Len(t, jobs, 2)
	require.Equal(t, "cd / && run-parts --report /etc/cron.hourly", jobs[0].Exec.Command[2])
	require.Equal(t, map[string]string{"PATH": "/usr/bin:/bin"}, jobs[0].Exec.Env)
	require.Equal(t, "Asia/Kolkata", jobs[1].Timezone)
	require.Contains(t, string(w.Content), `it ran as user "www-data"`)
}

// What cron does not read so, or at all, and what has no times, is a comment; when its
// first characters are taken away it is an entry again.
func TestRefusedLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"@reboot /usr/bin/start":                 "bootstrap_jobs",
		"@every_minute /bin/x":                   "@every_minute is unknown",
		"0 0 31 2 * never":                       "would never fire",
		"*/90 * * * * odd":                       "use a smaller step",
		"5/15 * * * * odd":                       `"5/15" in its schedule is nothing that cron reads`,
		"H * * * * odd":                          `"H" in its schedule`,
		"0 0 L * * odd":                          `"L" in its schedule`,
		"0 0 15W * * odd":                        `"15W" in its schedule`,
		"0 0 * * fri#2 odd":                      `"fri#2" in its schedule`,
		"61 * * * * odd":                         "61",
		"* * * *":                                "less than five fields",
		"* * * * *":                              "less than five fields",
		"@daily":                                 "no command",
		"garbage":                                "less than five fields",
		"0 0 * * * \xff\xfe":                     "UTF-8",
		"0 0 * * * a\x00b":                       "NUL",
		"CRON_TZ=Nowhere/Else\n0 0 * * * x":      "Nowhere/Else",
		"SCHEDULER_JOB=mine\n0 0 * * * x":        "SCHEDULER_",
		"SHELL=bin/relative\n0 0 * * * x":        "relative",
		"- * * * * * x":                          `"-" in its schedule`,
		strings.Repeat("9", 5000) + " * * * * x": "nothing",
	} {
		list, _ := importing.Crontab([]byte(line), false, "")
		require.Len(t, list, 1, line)
		w, jobs := written(t, list)
		require.Empty(t, jobs, line)
		require.Equal(t, 1, w.Refused, line)
		if want != "nothing" {
			require.Contains(t, string(w.Content), want)
		}
		require.Contains(t, string(w.Content), "# Not a job here: ")

		var uncommented []string
		for line := range strings.Lines(string(w.Content)) {
			if strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "#  ") {
				continue
			}
			uncommented = append(uncommented, strings.TrimPrefix(line, "#"))
		}
		var file struct{ Jobs []entry }
		require.NoError(t, yaml.Unmarshal([]byte(strings.Join(uncommented, "")), &file), "%s", w.Content)
		require.Len(t, file.Jobs, 1, "%s", w.Content)
	}
}

func TestNothingToImport(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "\n\n", "# nothing", "A=b"} {
		list, _ := importing.Crontab([]byte(content), false, "")
		w, jobs := written(t, list, "Nothing.")
		require.Empty(t, jobs)
		require.Equal(t, "# Nothing.\n\njobs:\n", string(w.Content))
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	var list []importing.Job
	for _, name := range []string{"Nightly Vacuum", "nightly-vacuum", "nightly_vacuum", "", "été", "42", "taken", strings.Repeat("x", 200), strings.Repeat("x", 200), "__"} {
		list = append(list, importing.Job{Name: name, Source: "somewhere", Schedule: "@daily", SQL: []string{"SELECT 1"}})
	}
	w, jobs := written(t, list)
	names := make([]string, 0, len(jobs))
	for _, job := range jobs {
		names = append(names, job.Name)
	}
	x := strings.Repeat("x", 98)
	require.Equal(t, []string{"nightly_vacuum", "nightly_vacuum_2", "nightly_vacuum_3", "job", "t", "job_42", "taken_2", x + "xx", x + "_2", "job_2"}, names)
	require.Contains(t, string(w.Content), `# somewhere, "Nightly Vacuum"`)
}

// Statements that no transaction takes are jobs of their own kind; what the scheduler
// refuses of SQL is a comment.
func TestKindsOfSQL(t *testing.T) {
	t.Parallel()
	ofSQL := func(sql ...string) importing.Job {
		return importing.Job{Name: "x", Source: "s", Schedule: "@daily", SQL: sql}
	}
	w, jobs := written(t, []importing.Job{ofSQL("VACUUM"), ofSQL("DELETE FROM a", "DELETE FROM b"), ofSQL("COMMIT"), ofSQL("SELECT @nobody"), ofSQL("")})
	require.Equal(t, 3, w.Refused)
	require.Len(t, jobs, 2)
	require.Contains(t, string(w.Content), "sql_outside_transaction: VACUUM")
	require.Contains(t, string(w.Content), "it cannot run in a transaction")
	require.Equal(t, []any{"DELETE FROM a", "DELETE FROM b"}, jobs[1].SQL)
}

// Whatever stands in it, the file can be read, and is read as what it was: quotes, line
// ends of every kind, what YAML means something by.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	check := checker(t)
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{
			"'", `"`, `\`, ": ", " #", "# ", "- ", "\n", "\r\n", "\r", "\t", "%", "|", ">", "{", "}", "[", "]", "&a", "*a", "!!int ", "---\n", "...", "? ", "@",
			"\u0085", "\u2028", "\u2029", "\uFEFF", "\u00a0", "\x07", "\x1b[31m", "\x7f", "é", "Ж", "😀", "null", "~", "yes", "0x10", "1e3", "<<", "=", "\n  ", "  \n", "\n\n",
			strings.Repeat("long ", 400),
		}),
		rapid.StringN(0, 20, -1),
	)
	text := rapid.Custom(func(t *rapid.T) string {
		joined := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "")
		return strings.ReplaceAll(joined, "\x00", "")
	})
	rapid.Check(t, func(t *rapid.T) {
		job := importing.Job{
			Name: text.Draw(t, "name"), Source: text.Draw(t, "source"), Schedule: "@daily",
			Description: strings.TrimSpace(text.Draw(t, "description")),
			Notes:       []string{text.Draw(t, "note")},
		}
		if rapid.Bool().Draw(t, "sql") {
			job.SQL = []string{"SELECT 1 /* " + strings.NewReplacer("*/", "", "/*", "").Replace(text.Draw(t, "sql text")) + " */"}
		} else {
			job.Command = []string{"/bin/sh", "-c", ":" + text.Draw(t, "command")}
			job.Environ = []importing.Variable{{Name: "A", Value: text.Draw(t, "value")}}
		}
		if rapid.Bool().Draw(t, "refused") {
			job.Refused = text.Draw(t, "reason") + "."
		}
		plain := importing.Job{Name: "plain", Source: "s", Schedule: "@daily", SQL: []string{"SELECT 2"}}
		for _, list := range [][]importing.Job{{job}, {job, plain}, {plain, job}} {
			w, err := importing.Write(list, importing.Options{Header: []string{text.Draw(t, "header")}, CheckFunc: check})
			if err != nil {
				t.Fatalf("%v", err)
			}
			if job.Refused == "" && w.Refused > 0 {
				t.Fatalf("refused: %s", w.Content)
			}
		}
	})
}

// Any bytes are a crontab: what comes out can be read.
func TestAnyBytesAreACrontab(t *testing.T) {
	t.Parallel()
	check := checker(t)
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("*/5 0\n%=@#ab'\"\\\t\r,-:")), rapid.Byte()), 0, 200).Draw(t, "content")
		list, notes := importing.Crontab(content, rapid.Bool().Draw(t, "system"), "")
		if _, err := importing.Write(list, importing.Options{Header: notes, CheckFunc: check}); err != nil {
			t.Fatalf("%v", err)
		}
	})
}
