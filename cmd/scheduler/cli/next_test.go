package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNextTable(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "next", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-28", "--count", "3")
	require.Equal(t, called{code: exitDone, stdout: `LOCAL TIME                           UTC                  AFTER  REMARK
Sat 2026-03-28 02:30:00 +01:00 CET   2026-03-28 01:30:00  2h30m
Sun 2026-03-29 03:00:00 +02:00 CEST  2026-03-29 01:00:00  1d2h   the clock was set forward by 1h
Mon 2026-03-30 02:30:00 +02:00 CEST  2026-03-30 00:30:00  2d1h
`}, got)
	got = call(t, nil, "next", "*/15", "1", "*", "*", "*", "--timezone", "Australia/Lord_Howe", "--from", "2026-04-05 01:00", "--count", "4")
	require.Equal(t, called{code: exitDone, stdout: `LOCAL TIME                      UTC                  AFTER  REMARK
Sun 2026-04-05 01:15:00 +11:00  2026-04-04 14:15:00  15m
Sun 2026-04-05 01:30:00 +11:00  2026-04-04 14:30:00  30m
Sun 2026-04-05 01:45:00 +11:00  2026-04-04 14:45:00  45m
Sun 2026-04-05 01:30:00 +10:30  2026-04-04 15:00:00  1h     the clock was set back by 30m
`}, got)
	got = call(t, nil, "next", "@monthly", "--timezone", "Europe/Berlin", "--from", "2026-03-15", "--count", "1")
	require.Equal(t, called{code: exitDone, stdout: `LOCAL TIME                           UTC                  AFTER
Wed 2026-04-01 00:00:00 +02:00 CEST  2026-03-31 22:00:00  16d
`}, got, "a change of long ago")
	require.Contains(t, call(t, nil, "next", "@daily").stdout, "  IN\n", "from now")
	got = call(t, nil, "next", "@daily", "--from", "2026-01-01T00:00:00Z", "--count", "1")
	require.Equal(t, called{code: exitDone, stdout: `LOCAL TIME                          UTC                  AFTER
Fri 2026-01-02 00:00:00 +00:00 UTC  2026-01-02 00:00:00  1d
`}, got, "strictly after --from")
}

func TestNextJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"0 12 * * *", "--from", "2026-03-28T12:00:00Z", "--count", "2", "--timezone", "Europe/Berlin"}, []string{"2026-03-29T12:00:00+02:00", "2026-03-30T12:00:00+02:00"}},
		{[]string{"@every 90s", "--from", "2026-01-01 00:00:30", "--count", "2"}, []string{"2026-01-01T00:01:30Z", "2026-01-01T00:03:00Z"}},
		{[]string{"H h * * *", "--job", "cleanup", "--from", "2026-01-01", "--count", "1"}, []string{"2026-01-01T00:18:00Z"}},
		{[]string{"@yearly", "--from", "2199-06-01", "--count", "1"}, []string{}},
	} {
		got := call(t, nil, append(append([]string{"next"}, test.args...), "--json")...)
		require.Equal(t, exitDone, got.code, got.stderr)
		list := []string{"not an array"}
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &list))
		require.Equal(t, test.want, list)
	}
}

// Nothing of the configuration is read, however broken it is.
func TestNextNeedsNothing(t *testing.T) {
	t.Parallel()
	variables := map[string]string{
		"SCHEDULER_CONFIG": "/nowhere/at/all.yaml", "DATABASE_URL": "not a URL", "SCHEDULER_TIMEZONE": "Mars", "SCHEDULER_SCHEMA": "public",
	}
	before := time.Now()
	for _, config := range []string{"/nowhere/at/all.yaml", file(t, "nonsense: [")} {
		got := call(t, variables, "next", "* * * * * *", "--json", "--config", config)
		require.Equal(t, exitDone, got.code, got.stderr)
		require.Empty(t, got.stderr)
		var ticks []time.Time
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &ticks))
		require.Len(t, ticks, nextCountDefault)
		require.WithinRange(t, ticks[0], before, time.Now().Add(time.Second))
		require.Equal(t, "UTC", ticks[0].Location().String())
	}
}

func TestNextRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args  []string
		usage bool
		want  string
	}{
		{nil, true, `"scheduler next" needs a cron expression in quotes, such as '0 3 * * *'`},
		{[]string{"@daily", "--count", "0"}, true, `--count is 0, must be between 1 and 10000`},
		{[]string{"@daily", "--count", "10001"}, true, `--count is 10001, must be between 1 and 10000`},
		{[]string{"@daily", "--count", "x"}, true, `invalid argument "x" for "--count" flag`},
		{[]string{"@daily", "--from", "tomorrow"}, false, `--from: "tomorrow" is not a time; write one such as 2026-03-29T14:30:00Z`},
		{[]string{"@daily", "--from", ""}, false, `--from: "" is not a time; write one such as`},
		{[]string{"@daily", "--from", "2026-03-29 02:30", "--timezone", "Europe/Berlin"}, false, `--from: "2026-03-29 02:30" does not exist in Europe/Berlin`},
		{[]string{"@daily", "--timezone", "europe/berlin"}, false, `--timezone: time zone "europe/berlin" is unknown; did you mean Europe/Berlin?`},
		{[]string{"@daily", "--timezone", "Local"}, false, `--timezone: time zone "Local" differs from machine to machine; use an IANA name`},
		{[]string{"0 0 31 2 *"}, false, `cron text "0 0 31 2 *": day-of-month: no date ever matches`},
		{[]string{"0 25 * * *"}, false, `cron text "0 25 * * *": hour: 25 is not within 0-23; use 0-23`},
		{[]string{""}, false, `cron text "": is empty; write five fields`},
		{[]string{"0", "3", "a.go", "b.go", "c.go", "d.go", "*"}, false, `It came as 7 arguments: put it in quotes, or the shell replaces each * by the names of files`},
		{[]string{"H 3 * * *"}, false, `cron text "H 3 * * *": minute: H and ~ choose a value by the job's name; give it with --job`},
		{[]string{"0 0~5 * * *", "--job", ""}, false, `hour: H and ~ choose a value by the job's name; give it with --job`},
		{[]string{"H 99 * * *"}, false, `hour: 99 is not within 0-23`},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			got := call(t, nil, append([]string{"next"}, test.args...)...)
			require.Equal(t, exitRefused, got.code)
			require.Empty(t, got.stdout)
			line, usage, _ := strings.Cut(got.stderr, "\n")
			require.True(t, strings.HasPrefix(line, "scheduler: "), got.stderr)
			require.Contains(t, line, test.want)
			if test.usage {
				require.Equal(t, "Run \"scheduler next --help\" for usage.\n", usage)
			} else {
				require.Empty(t, usage)
			}
		})
	}
}

func TestNextSaysWhenThereAreFewer(t *testing.T) {
	t.Parallel()
	got := call(t, nil, "next", "@yearly", "--from", "2198-06-01")
	require.Equal(t, called{code: exitDone, stdout: `LOCAL TIME                          UTC                  AFTER
Tue 2199-01-01 00:00:00 +00:00 UTC  2199-01-01 00:00:00  214d
`, stderr: "scheduler: 1 tick only, not 5: ticks end with the year 2199\n"}, got)
	got = call(t, nil, "next", "@yearly", "--from", "2200-01-01")
	require.Equal(t, called{code: exitDone, stderr: "scheduler: 0 ticks only, not 5: ticks end with the year 2199\n"}, got)
}

func TestNextHelpAndCompletion(t *testing.T) {
	t.Parallel()
	require.Contains(t, call(t, nil, "next", "--help").stdout, "strictly after --from")
	got := call(t, nil, "__complete", "next", "--timezone", "")
	require.Equal(t, exitDone, got.code)
	for _, name := range []string{"Europe/Berlin\n", "America/Argentina/San_Luis\n", "UTC\n"} {
		require.Contains(t, got.stdout, name)
	}
	require.Contains(t, call(t, nil, "__complete", "next", "--job", "").stdout, "database_cleanup\t")
}
