package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

var everyType = scheduler.Job{
	JobName:    "j",
	Parameters: []byte(`{"i": 7, "l": ["a", "b"]}`),
	ParameterSpecs: []byte(`[
		{"name": "i", "type": "integer", "default": 1, "minimum": 1, "maximum": 10},
		{"name": "n", "type": "number", "default": 0.5, "minimum": 0},
		{"name": "b", "type": "boolean", "default": false},
		{"name": "s", "type": "string", "default": "x", "enum": ["x", "y=z"]},
		{"name": "l", "type": "strings", "default": []},
		{"name": "d", "type": "duration", "default": "1m", "minimum": 60, "maximum": 5400}
	]`),
}

func TestParseParameters(t *testing.T) {
	t.Parallel()
	values, err := parseParameters(everyType, []string{"i=10", "n=2", "b=true", "s=y=z", "l=a,b", "d=1h30m"})
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"i": int64(10), "n": 2.0, "b": true, "s": "y=z", "l": []string{"a", "b"}, "d": "1h30m",
	}, values)

	values, err = parseParameters(everyType, []string{"l="})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"l": []string{}}, values)

	values, err = parseParameters(everyType, nil)
	require.NoError(t, err)
	require.Nil(t, values)
}

func TestParseParametersRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"i":     `--param "i": must have the form name=value`,
		"i=":    `job "j": parameter "i": must be a whole number, not ""`,
		"i=1.5": `job "j": parameter "i": must be a whole number, not "1.5"`,
		"i=11":  `job "j": parameter "i": is 11, must be at most 10`,
		"n=x":   `job "j": parameter "n": must be a number, not "x"`,
		"n=NaN": `job "j": parameter "n": must be a number, not the number NaN`,
		"n=-1":  `job "j": parameter "n": is -1, must be at least 0`,
		"b=yes": `job "j": parameter "b": must be true or false, not "yes"`,
		"s=q":   `job "j": parameter "s": is "q", must be one of: x, y=z`,
		"d=60":  `job "j": parameter "d": must be a duration such as "90s" or "1h30m", not "60"`,
		"d=1s":  `job "j": parameter "d": is 1 seconds, must be at least 60 seconds`,
		"q=1":   `job "j": parameter "q": unknown; the job has: i, n, b, s, l, d`,
	} {
		_, err := parseParameters(everyType, []string{text})
		require.EqualError(t, err, want, text)
		require.Equal(t, exitRefused, exitCode(err), text)
	}
	_, err := parseParameters(everyType, []string{"i=1", "i=2"})
	require.EqualError(t, err, "--param i is given twice")

	_, err = parseParameters(everyType, []string{"i=x", "q=1", "n=-1"})
	require.Equal(t, `job "j": parameter "i": must be a whole number, not "x"; job "j": parameter "n": is -1, must be at least 0; `+
		`job "j": parameter "q": unknown; the job has: i, n, b, s, l, d`, message(err), "all at once")
	require.ErrorIs(t, err, jobs.ErrInvalidParameter)

	_, err = parseParameters(scheduler.Job{JobName: "j", ParameterSpecs: []byte(`[]`)}, []string{"a=1"})
	require.EqualError(t, err, `job "j": parameter "a": unknown; the job has no parameters`)
}

func TestParameterRows(t *testing.T) {
	t.Parallel()
	rows, err := parameterRows(everyType)
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"  i", "integer", "7", "1", "1 to 10", ""},
		{"  n", "number", "0.5", "0.5", "at least 0", ""},
		{"  b", "boolean", "false", "false", "any", ""},
		{"  s", "string", "x", "x", "x, y=z", ""},
		{"  l", "strings", "a,b", "", "any", ""},
		{"  d", "duration", "1m", "1m", "1m to 1h30m", ""},
	}, rows)
}
