package cli

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
)

func TestParseSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"24h": day, "90m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, "0d1s": time.Second, "1h30m": 90 * time.Minute,
		"3653d": spanMax, "87672h": spanMax,
	} {
		got, err := parseSpan(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "d", "7", "h", "soon", "1.5d", "-1d", "+1d", "7d-1h", "7 d", "1dd", "24h1d", "7days"} {
		_, err := parseSpan(text)
		require.ErrorContains(t, err, `"`+text+`" is no duration; write one such as 24h, 90m or 7d`, text)
	}
	for _, text := range []string{"0s", "0d", "-1h", "3653d1ns", "3654d", "65535d2562047h", "70000d", "87673h", "2562047h47m16s"} {
		_, err := parseSpan(text)
		require.ErrorContains(t, err, `"`+text+`" is out of range; a duration must be positive and at most ten years (3653d)`, text)
	}
}

func TestParseAt(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"+90m":                 "2026-03-28T13:30:00Z",
		"+1d":                  "2026-03-29T12:00:00Z",
		"2026-03-28 14:00":     "2026-03-28T13:00:00Z",
		"2026-03-28T14:00:00Z": "2026-03-28T14:00:00Z",
	} {
		require.NoError(t, checkAt("at", text))
		got, err := parseAt(text, berlin, now)
		require.NoError(t, err, text)
		require.Equal(t, want, got.UTC().Format(time.RFC3339), text)
	}
	_, err := parseAt("2026-03-29 02:30", berlin, now)
	require.ErrorContains(t, err, "does not exist in Europe/Berlin")
	require.NoError(t, checkAt("at", "2026-03-29 02:30"), "it may exist in the job's time zone")
	_, err = parseAt("+0s", berlin, now)
	require.ErrorContains(t, err, "out of range")
}

func TestInOrder(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"2026-03-28", "2026-03-28", true},
		{"2026-03-28", "2026-03-29", true},
		{"2026-03-29", "2026-03-28", false},
		{"2026-03-28 12:00:01", "2026-03-28 12:00", false},
		{"2026-03-28T12:00:01Z", "2026-03-28T12:00:00Z", false},
		{"2026-03-28T13:00:00+01:00", "2026-03-28T12:00:00Z", true},
		// It depends on the zone.
		{"2026-03-28 12:00", "2026-03-28T06:00:00Z", true},
		{"2026-03-28T12:00:00Z", "2026-03-28 06:00", true},
		{"2026-03-30", "2026-03-28T00:00:00Z", false},
		{"2026-03-30T00:00:00Z", "2026-03-28", false},
	} {
		require.Equal(t, test.want, inOrder(test.from, test.to), "%s to %s", test.from, test.to)
	}
}

func TestLocationOf(t *testing.T) {
	t.Parallel()
	location, err := locationOf(scheduler.Job{Timezone: "Europe/Berlin"})
	require.NoError(t, err)
	require.Equal(t, "Europe/Berlin", location.String())
	_, err = locationOf(scheduler.Job{JobName: "j", Timezone: "Mars"})
	require.ErrorContains(t, err, `job "j": `)
}

func TestPoll(t *testing.T) {
	t.Parallel()
	looks := 0
	done, err := poll(t.Context(), 0, func() (bool, error) { looks++; return looks == 2, nil })
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, 2, looks)

	done, err = poll(t.Context(), time.Millisecond, func() (bool, error) { return false, nil })
	require.NoError(t, err)
	require.False(t, done, "the time is up")

	broken := errors.New("broken")
	_, err = poll(t.Context(), 0, func() (bool, error) { return false, broken })
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = poll(ctx, 0, func() (bool, error) { return false, nil })
	require.ErrorIs(t, err, context.Canceled)
}
