package schedulertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

// texts are decisions in short.
func texts(decisions []Decision) []string {
	list := make([]string, 0, len(decisions))
	for _, d := range decisions {
		text := d.Tick.UTC().Format("15:04 ") + string(d.Status)
		if d.Reason != "" {
			text += " " + d.Reason
		}
		if d.Missed > 0 {
			text += fmt.Sprintf(" %d to %s", d.Missed, d.LastMissed.UTC().Format("15:04"))
		}
		list = append(list, text)
	}
	return list
}

func TestTicks(t *testing.T) {
	t.Parallel()
	d := jobs.Definition{Name: "nightly", Schedule: "30 2 * * *", TimeZone: "Europe/Berlin"}
	ticks := Ticks(t, d, at("2026-03-28 00:00"), at("2026-03-30 12:00"))
	require.Len(t, ticks, 3)
	require.Equal(t, "2026-03-29T03:00:00+02:00", ticks[1].Format(time.RFC3339), "the clock is set forward: at the first instant after the gap")
	ticks = Ticks(t, d, at("2026-10-24 12:00"), at("2026-10-25 12:00"))
	require.Len(t, ticks, 1, "the clock is set back: once")
	require.Equal(t, "2026-10-25T02:30:00+02:00", ticks[0].Format(time.RFC3339))
	require.Empty(t, Ticks(t, d, at("2026-03-28 02:00"), at("2026-03-28 02:00")))
	d.Schedule = "61 * * * *"
	require.Contains(t, record(t, func(t testing.TB) { Ticks(t, d, at("2026-03-28 00:00"), at("2026-03-30 12:00")) }), "invalid schedule")
	d.Schedule, d.Overlap = "@daily", "sometimes"
	require.Contains(t, record(t, func(t testing.TB) { NewClock(t, d, at("2026-03-28 00:00")) }), `a policy is "sometimes"`)
}

func TestClockOverlap(t *testing.T) {
	t.Parallel()
	for overlap, want := range map[jobs.Overlap][]string{
		"":                 {"00:10 pending", "00:20 skipped overlap", "00:30 skipped overlap", "00:40 pending"},
		jobs.OverlapAllow:  {"00:10 pending", "00:20 pending", "00:30 pending", "00:40 pending"},
		jobs.OverlapCancel: {"00:10 pending", "00:20 pending", "00:30 pending", "00:40 pending"},
		jobs.OverlapQueue:  {"00:10 pending", "00:20 waiting queued", "00:30 skipped overlap", "00:40 waiting queued"},
	} {
		c := NewClock(t, jobs.Definition{Name: "often", Schedule: "*/10 * * * *", Overlap: overlap}, at("2026-01-01 00:00"))
		c.RunsTake(25 * time.Minute)
		require.Equal(t, want, texts(c.Advance(40*time.Minute)), "%q", overlap)
		require.Equal(t, at("2026-01-01 00:40"), c.Now())
	}
}

func TestClockCatchUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		definition jobs.Definition
		want       []string
	}{
		{jobs.Definition{}, []string{"00:10 missed outage 3 to 00:30", "00:40 pending"}},
		{jobs.Definition{CatchUp: jobs.CatchUpNone}, []string{"00:10 missed outage 4 to 00:40"}},
		{jobs.Definition{CatchUp: jobs.CatchUpAll}, []string{"00:10 waiting catch_up", "00:20 waiting catch_up", "00:30 waiting catch_up", "00:40 waiting catch_up"}},
		{jobs.Definition{CatchUp: jobs.CatchUpAll, CatchUpLimit: 2}, []string{"00:10 missed catch_up_limit 2 to 00:20", "00:30 waiting catch_up", "00:40 waiting catch_up"}},
		{jobs.Definition{CatchUpMaxAge: time.Minute}, []string{"00:10 missed catch_up_max_age 4 to 00:40"}},
	} {
		test.definition.Name, test.definition.Schedule = "often", "*/10 * * * *"
		c := NewClock(t, test.definition, at("2026-01-01 00:00"))
		require.Equal(t, test.want, texts(c.Outage(45*time.Minute)))
		require.Equal(t, []string{"00:50 pending"}, texts(c.Advance(5*time.Minute)))
		require.Empty(t, c.Outage(time.Minute), "nothing was due")
	}
}
